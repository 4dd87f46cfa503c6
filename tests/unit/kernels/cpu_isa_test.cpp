#include "kernels/cpu/cpu_isa.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/dropout.h"
#include "kernels/normal_fill.h"
#include "kernels/rotary.h"
#include "kernels/swiglu.h"
#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

class CpuIsaTest : public testing::SeededTest {
 protected:
  ~CpuIsaTest() override { use_cpu_isa(usual_); }

  /// What `call` returns with each of these instruction sets is the same to the bit.
  static void expect_same_bits(const std::vector<CpuIsa>& isas,
                               const std::function<Tensor()>& call) {
    Tensor first;
    for (const CpuIsa isa : isas) {
      use_cpu_isa(isa);
      const auto result = call();
      if (!first.defined()) first = result;
      EXPECT_TRUE(result.equal(first)) << cpu_isa_name(isa);
    }
  }

 private:
  const CpuIsa usual_ = cpu_isa();
};

TEST_F(CpuIsaTest, TheEnvironmentNamesASetOrLeavesTheWidest) {
  EXPECT_EQ(cpu_isa_of(""), usable_cpu_isas().back());
  for (const CpuIsa isa : usable_cpu_isas()) EXPECT_EQ(cpu_isa_of(cpu_isa_name(isa)), isa);
  try {
    cpu_isa_of("sse2");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("LOWBANK_CPU_ISA: 'sse2' is none of portable"));
  }
}

TEST_F(CpuIsaTest, TheEnvironmentSwitchesTheLoopsOff) {
  EXPECT_TRUE(cpu_kernels_of(""));
  EXPECT_TRUE(cpu_kernels_of("on"));
  EXPECT_FALSE(cpu_kernels_of("off"));
  EXPECT_THROW(cpu_kernels_of("no"), ConfigError);
}

TEST_F(CpuIsaTest, RandomNumbersHaveTheSameBitsOnEveryProcessor) {
  const RandomKey key = RandomKey(3).derive("isa");
  expect_same_bits(usable_cpu_isas(), [&] {
    const auto normals = at::empty({100'003});
    normal_fill_(normals, key, 5);
    return normals;
  });
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const auto x = at::randn({100'003}).to(type);
    expect_same_bits(usable_cpu_isas(), [&] { return dropout(x, 0.3, key); });
  }
}

// Loops that sum over no lanes, and the softmax, which sums in 16 lanes everywhere.
TEST_F(CpuIsaTest, SetsWithFusedMultiplyAddsAgreeToTheBitWhereNoLanesAreSummed) {
  if (usable_cpu_isas().size() < 3) GTEST_SKIP() << "the processor has one such set at most";
  const std::vector<CpuIsa> fused = {CpuIsa::kAvx2, CpuIsa::kAvx512};
  const auto with_gradient = [&](const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
    expect_same_bits(fused, [&] {
      const auto leaf = x.clone().requires_grad_();
      const auto y = f(leaf);
      y.sum().backward();
      return at::cat({y.detach().flatten(), leaf.grad().flatten()});
    });
  };
  with_gradient(3 * at::randn({7, 202}), [](const Tensor& x) { return swiglu(x); });
  const auto cosines = at::randn({5, 1, 22}), sines = at::randn({5, 1, 22});
  with_gradient(at::randn({2, 5, 3, 22}),
                [&](const Tensor& x) { return rotary(x, cosines, sines); });
  const auto targets = at::randint(1009, {9}, torch::kLong);
  with_gradient(5 * at::randn({9, 1009}),
                [&](const Tensor& x) { return softmax_cross_entropy_(x * 1.0, targets); });
  const auto weight = at::randn({37, 4}), bias = at::randn({37});
  with_gradient(at::randn({2, 11, 37}), [&](const Tensor& x) {
    return causal_conv({.x_BTD = x, .weight_DW = weight, .bias_D = bias}).y_BTD;
  });
}

class Bfloat16Test : public testing::IsaTest {};
LOWBANK_EVERY_ISA(Bfloat16Test);

TEST_P(Bfloat16Test, WidensEveryNumberToItself) {
  const auto bits = at::arange(1 << 16).to(torch::kShort);
  const auto numbers = bits.view(torch::kBFloat16);
  const auto wide = at::empty({1 << 16});
  cpu_kernels().widen[static_cast<int>(VectorType::kBfloat16)](
      wide.data_ptr<float>(), numbers.const_data_ptr(), wide.numel());
  EXPECT_TRUE(wide.view(torch::kInt).equal(numbers.to(torch::kFloat).view(torch::kInt)));
}

TEST_P(Bfloat16Test, RoundsToTheNearestAndTiesToEven) {
  // Every high half with the low halves around a tie; among them infinities and NaN.
  std::vector<Tensor> words;
  for (const std::int64_t low : {0x0, 0x1, 0x7FFF, 0x8000, 0x8001, 0xFFFF}) {
    words.push_back(at::arange(-(1 << 15), 1 << 15, at::TensorOptions(torch::kLong)) * 65536 + low);
  }
  const auto numbers = at::cat(words).to(torch::kInt).view(torch::kFloat);
  const auto rounded = at::empty(numbers.sizes(), torch::kBFloat16);
  cpu_kernels().narrow[static_cast<int>(VectorType::kBfloat16)](
      rounded.mutable_data_ptr(), numbers.const_data_ptr<float>(), numbers.numel());
  const auto wanted = numbers.to(torch::kBFloat16);
  EXPECT_TRUE(rounded.isnan().equal(numbers.isnan()));
  const auto is_number = numbers.isnan().logical_not();
  EXPECT_TRUE(rounded.masked_select(is_number).equal(wanted.masked_select(is_number)));
}

}  // namespace
}  // namespace lowbank
