#pragma once

#include <string>

#include <ATen/Parallel.h>

#include "kernels/cpu/cpu_kernels.h"
#include "torch_support.h"

namespace lowbank::testing {

/// Runs each test of a fixture with the loops of every instruction set that the processor has.
template <class Fixture>
class EveryIsa : public Fixture, public ::testing::WithParamInterface<CpuIsa> {
 protected:
  EveryIsa() { use_cpu_isa(GetParam()); }
  ~EveryIsa() override {
    use_cpu_isa(usual_);
    at::set_num_threads(1);
  }

 private:
  const CpuIsa usual_ = cpu_isa();
};
using IsaTest = EveryIsa<SeededTest>;

#define LOWBANK_EVERY_ISA(suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(Isas, suite, ::testing::ValuesIn(::lowbank::usable_cpu_isas()), \
                           [](const ::testing::TestParamInfo<::lowbank::CpuIsa>& isa) {    \
                             return std::string(::lowbank::cpu_isa_name(isa.param));       \
                           })

/// Expects the same bits with one thread and with three.
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
