#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace lowbank::testing {

/// Seeds LibTorch's global generator, so that a failing test can be repeated.
class SeededTest : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(0); }
};

/// Same shape and type, and max |a - b| <= atol; names the first bad element.
inline ::testing::AssertionResult tensors_near(const torch::Tensor& a, const torch::Tensor& b,
                                               double atol) {
  if (a.sizes() != b.sizes()) {
    return ::testing::AssertionFailure() << "shapes " << a.sizes() << " and " << b.sizes();
  }
  if (a.scalar_type() != b.scalar_type()) {
    return ::testing::AssertionFailure() << "types " << a.dtype() << " and " << b.dtype();
  }
  if (a.numel() == 0) return ::testing::AssertionSuccess();
  const auto difference = (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().flatten();
  const auto worst = difference.argmax().item<std::int64_t>();
  const double value = difference[worst].item<double>();
  if (value <= atol) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "differ by " << value << " > " << atol << " at flat index " << worst << ": "
         << a.flatten()[worst].item<double>() << " and " << b.flatten()[worst].item<double>();
}

#define EXPECT_TENSOR_NEAR(a, b, atol) EXPECT_TRUE(::lowbank::testing::tensors_near(a, b, atol))

}  // namespace lowbank::testing
