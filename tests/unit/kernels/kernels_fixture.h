#pragma once

#include <array>
#include <string>

#include <ATen/Parallel.h>

#include "kernels/cpu/vector_kernels.h"
#include "torch_support.h"

namespace lowbank::testing {

/// Runs each test with every vector extension that the processor has.
class VectorKernelTest : public SeededTest, public ::testing::WithParamInterface<CpuIsa> {
 protected:
  void SetUp() override {
    SeededTest::SetUp();
    if (GetParam() > best_cpu_isa()) GTEST_SKIP() << "the processor lacks it";
    use_cpu_isa(GetParam());
  }
  void TearDown() override {
    use_cpu_isa(best_cpu_isa());
    at::set_num_threads(1);
  }
};

inline std::string extension_name(const ::testing::TestParamInfo<CpuIsa>& extension) {
  constexpr std::array kNames = {"Portable", "Avx2", "Avx512"};
  return kNames[static_cast<std::size_t>(extension.param)];
}

#define LOWBANK_ALL_EXTENSIONS(suite)                                           \
  INSTANTIATE_TEST_SUITE_P(                                                     \
      Extensions, suite,                                                        \
      ::testing::Values(::lowbank::CpuIsa::kPortable, ::lowbank::CpuIsa::kAvx2, \
                        ::lowbank::CpuIsa::kAvx512),                            \
      ::lowbank::testing::extension_name)

/// The same bits with one thread and with three.
template <class Call>
::testing::AssertionResult same_bits_for_any_thread_count(Call call) {
  at::set_num_threads(1);
  const auto alone = call();
  at::set_num_threads(3);
  const auto shared = call();
  at::set_num_threads(1);
  if (alone.equal(shared)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "differ by " << (alone - shared).abs().max().template item<double>();
}

}  // namespace lowbank::testing
