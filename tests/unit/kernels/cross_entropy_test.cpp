#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Allocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "torch_support.h"
#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

torch::Tensor targets_of(std::int64_t num_rows, std::int64_t num_classes) {
  return at::randint(num_classes, {num_rows}, c10::kLong);
}

torch::Tensor reference_loss(const torch::Tensor& logits, const torch::Tensor& targets) {
  return at::cross_entropy_loss(logits, targets, /*weight=*/{}, at::Reduction::Sum);
}

struct LossAndGradients {
  torch::Tensor loss, hidden, weight;
};

/// The loss and its gradients at fresh copies of hidden and weight.
template <class Loss>
LossAndGradients differentiate(const Loss& loss_of, const torch::Tensor& hidden_MD,
                               const torch::Tensor& weight_VD, double incoming = 1.0) {
  const auto hidden = hidden_MD.clone().requires_grad_();
  const auto weight = weight_VD.clone().requires_grad_();
  const auto loss = loss_of(hidden, weight);
  (loss * incoming).backward();
  return {loss.detach(), hidden.grad(), weight.grad()};
}

double largest(const torch::Tensor& x) { return x.abs().max().item<double>(); }

void expect_same(const LossAndGradients& actual, const LossAndGradients& expected,
                 double tolerance) {
  EXPECT_TENSOR_NEAR(actual.loss, expected.loss, tolerance * largest(expected.loss));
  EXPECT_TENSOR_NEAR(actual.hidden, expected.hidden, tolerance * largest(expected.hidden));
  EXPECT_TENSOR_NEAR(actual.weight, expected.weight, tolerance * largest(expected.weight));
}

/// Rows, classes, features. A chunk is 64 MiB: 16 Mi float32 logits.
class CrossEntropyShapes
    : public ::testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  void SetUp() override {
    torch::manual_seed(0);
    const auto [num_rows, num_classes, size] = GetParam();
    hidden_ = at::randn({num_rows, size});
    weight_ = at::randn({num_classes, size});
    targets_ = targets_of(num_rows, num_classes);
  }
  torch::Tensor hidden_, weight_, targets_;
};

TEST_P(CrossEntropyShapes, LossAndGradientsAreThoseOfTheFullLogitsInFloat64) {
  const auto ours = [&](const auto& h, const auto& w) {
    return linear_cross_entropy(h, w, targets_);
  };
  const auto reference = [&](const auto& h, const auto& w) {
    return reference_loss(at::linear(h, w), targets_);
  };
  const auto actual = differentiate(ours, hidden_, weight_, 0.25);
  const auto expected =
      differentiate(reference, hidden_.to(c10::kDouble), weight_.to(c10::kDouble), 0.25);
  // Relative to the largest element; a product with few columns sums over the classes in float32
  // one after another.
  const double tolerance = 1e-5 + 1e-9 * static_cast<double>(weight_.size(0));
  expect_same({actual.loss.to(c10::kDouble), actual.hidden.to(c10::kDouble),
               actual.weight.to(c10::kDouble)},
              expected, tolerance);
}

TEST_P(CrossEntropyShapes, TokenLossesSumToTheLoss) {
  const auto nll = linear_nll(hidden_, weight_, targets_);
  const auto logits = at::linear(hidden_, weight_).to(c10::kDouble);
  const auto expected = at::cross_entropy_loss(logits, targets_, {}, at::Reduction::None);
  EXPECT_TENSOR_NEAR(nll, expected.to(c10::kFloat), 1e-5 * largest(expected));
  EXPECT_TENSOR_NEAR(linear_cross_entropy(hidden_, weight_, targets_),
                     nll.sum(c10::kDouble).to(c10::kFloat), 0.0);
}

// One row, one class, odd sizes; chunks of 84, 84 and 83 rows; rows of more than a chunk.
INSTANTIATE_TEST_SUITE_P(Shapes, CrossEntropyShapes,
                         ::testing::Values(std::tuple{1, 1, 3}, std::tuple{1, 17, 3},
                                           std::tuple{7, 4099, 5}, std::tuple{251, 150001, 24},
                                           std::tuple{2, (16 << 20) + 5, 1}));

class CrossEntropyTest : public testing::SeededTest {};

TEST_F(CrossEntropyTest, GradientsAreThoseOfFiniteDifferences) {
  const auto hidden = at::randn({5, 3}, c10::kDouble), weight = at::randn({7, 3}, c10::kDouble);
  const auto targets = at::tensor({1, 6, -100, 0, 3}, c10::kLong);
  const auto given = differentiate(
      [&](const auto& h, const auto& w) { return linear_cross_entropy(h, w, targets); }, hidden,
      weight);
  const auto by_logits = differentiate(
      [&](const auto& h, const auto& w) {
        return softmax_cross_entropy_(at::linear(h, w), targets);
      },
      hidden, weight);
  const auto check = [&](const torch::Tensor& x, const torch::Tensor& gradient,
                         const torch::Tensor& other_gradient) {
    constexpr double kStep = 1e-6;
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      auto element = x.view(-1)[i];
      const auto moved = [&](double by) {
        element.add_(by);
        const double loss = linear_cross_entropy(hidden, weight, targets).item<double>();
        element.sub_(by);
        return loss;
      };
      // Third derivatives times kStep^2, and 1e-16 / kStep of rounding.
      const double slope = (moved(kStep) - moved(-kStep)) / (2 * kStep);
      EXPECT_NEAR(gradient.view(-1)[i].item<double>(), slope, 1e-8);
      EXPECT_NEAR(other_gradient.view(-1)[i].item<double>(), slope, 1e-8);
    }
  };
  check(hidden, given.hidden, by_logits.hidden);
  check(weight, given.weight, by_logits.weight);
}

TEST_F(CrossEntropyTest, IgnoredRowsAreAsIfTheyWereNotThere) {
  const auto hidden = at::randn({6, 8}), weight = at::randn({33, 8});
  const auto targets = at::tensor({-100, 4, 32, -100, 0, -100}, c10::kLong);
  const auto kept = at::tensor({1, 2, 4}, c10::kLong);
  const auto kept_targets = targets.index_select(0, kept);
  for (const bool of_logits : {false, true}) {
    const auto loss_of = [&](const torch::Tensor& h, const torch::Tensor& w,
                             const torch::Tensor& t) {
      return of_logits ? softmax_cross_entropy_(at::linear(h, w), t)
                       : linear_cross_entropy(h, w, t);
    };
    const auto all = differentiate(
        [&](const auto& h, const auto& w) { return loss_of(h, w, targets); }, hidden, weight);
    const auto some = differentiate(
        [&](const auto& h, const auto& w) {
          return loss_of(h.index_select(0, kept), w, kept_targets);
        },
        hidden, weight);
    EXPECT_TENSOR_NEAR(all.loss, some.loss, 0.0);
    EXPECT_TENSOR_NEAR(all.hidden, some.hidden, 1e-6);  // float32 products of other shapes
    EXPECT_TENSOR_NEAR(all.weight, some.weight, 1e-6);
    EXPECT_EQ(largest(all.hidden[3]), 0.0);
  }
  const auto nll = linear_nll(hidden, weight, targets);
  EXPECT_TENSOR_NEAR(nll.index_select(0, kept),
                     linear_nll(hidden.index_select(0, kept), weight, kept_targets), 1e-6);
  EXPECT_EQ(nll[0].item<float>(), 0.0f);
}

TEST_F(CrossEntropyTest, NothingButIgnoredRowsOrNoRowsGiveZero) {
  const auto weight = at::randn({5, 2}).requires_grad_();
  for (const std::int64_t num_rows : {0, 3}) {
    const auto hidden = at::randn({num_rows, 2}).requires_grad_();
    const auto targets = at::full({num_rows}, kIgnoreIndex, c10::kLong);
    const auto loss = linear_cross_entropy(hidden, weight, targets);
    loss.backward();
    EXPECT_EQ(loss.item<float>(), 0.0f);
    EXPECT_EQ(weight.grad().abs().max().item<float>(), 0.0f);
    EXPECT_EQ(hidden.grad().sizes(), hidden.sizes());
    EXPECT_EQ(softmax_cross_entropy_(at::linear(hidden, weight), targets).item<float>(), 0.0f);
  }
}

TEST_F(CrossEntropyTest, WeightUsedElsewhereInTheGraphGetsBothGradients) {
  const auto weight = at::randn({19, 6});
  const auto ids = targets_of(8, 19), targets = targets_of(8, 19);
  const auto tied = [&](const auto& loss_of) {
    const auto w = weight.clone().requires_grad_();
    loss_of(at::tanh(at::embedding(w, ids)), w).backward();
    return w.grad();
  };
  const auto actual =
      tied([&](const auto& h, const auto& w) { return linear_cross_entropy(h, w, targets); });
  const auto expected =
      tied([&](const auto& h, const auto& w) { return reference_loss(at::linear(h, w), targets); });
  EXPECT_TENSOR_NEAR(actual, expected, 1e-5);  // float32, elements of about 1
}

TEST_F(CrossEntropyTest, FrozenInputsGetNoGradientAndCostNone) {
  const auto hidden = at::randn({4, 3}), weight = at::randn({9, 3});
  const auto targets = targets_of(4, 9);
  const auto both = differentiate(
      [&](const auto& h, const auto& w) { return linear_cross_entropy(h, w, targets); }, hidden,
      weight);
  const auto h = hidden.clone().requires_grad_(), w = weight.clone().requires_grad_();
  linear_cross_entropy(h, weight, targets).backward();
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_TENSOR_NEAR(h.grad(), both.hidden, 0.0);
  linear_cross_entropy(hidden, w, targets).backward();
  EXPECT_FALSE(hidden.grad().defined());
  EXPECT_TENSOR_NEAR(w.grad(), both.weight, 0.0);
  EXPECT_FALSE(linear_cross_entropy(hidden, weight, targets).requires_grad());
  const c10::InferenceMode inference;
  EXPECT_TENSOR_NEAR(linear_cross_entropy(h, w, targets), both.loss, 0.0);
}

class CrossEntropyIsaTest : public testing::IsaTest {};
LOWBANK_EVERY_ISA(CrossEntropyIsaTest);

// Rows shorter than a vector, ends of 16 and of 256 classes, and more.
TEST_P(CrossEntropyIsaTest, LogitsFormHasTheReferencesLossAndGradient) {
  for (const std::int64_t num_classes : {1, 3, 16, 17, 255, 256, 263, 1009}) {
    SCOPED_TRACE(num_classes);
    const auto source = at::randn({37, num_classes}) * 5, targets = targets_of(37, num_classes);
    const auto x = source.clone().requires_grad_();
    const auto y = source.to(c10::kDouble).requires_grad_();
    const auto loss = softmax_cross_entropy_(x * 1.0, targets);
    (loss * 3).backward();
    const auto expected = reference_loss(y, targets);
    (expected * 3).backward();
    EXPECT_TENSOR_NEAR(loss.to(c10::kDouble), expected, 2e-7 * largest(expected));  // 37 float32
    EXPECT_TENSOR_NEAR(x.grad().to(c10::kDouble), y.grad(), 2e-6);  // float32 x - max, below 40
    const c10::InferenceMode inference;
    EXPECT_TENSOR_NEAR(softmax_cross_entropy_(source.clone(), targets), loss, 0.0);
  }
}

TEST_F(CrossEntropyTest, TransposedLogitsAreTakenToo) {
  const auto source = at::randn({11, 23}), targets = targets_of(11, 23);
  const auto x = source.t().contiguous().requires_grad_(), y = source.clone().requires_grad_();
  const auto logits = (x * 1.0).t();
  ASSERT_FALSE(logits.is_contiguous());
  const auto loss = softmax_cross_entropy_(logits, targets);
  loss.backward();
  const auto expected = reference_loss(y, targets);
  expected.backward();
  EXPECT_TENSOR_NEAR(loss, expected, 1e-6 * largest(expected));
  EXPECT_TENSOR_NEAR(x.grad().t(), y.grad(), 1e-6);
}

// Against float64 of the same bfloat16 values: the logits are rounded to 8 bits once more, the
// gradients as well.
TEST_F(CrossEntropyTest, Bfloat16IsSummedInFloat32) {
  const auto hidden = at::randn({300, 16}).to(c10::kBFloat16);
  const auto weight = (at::randn({120011, 16}) / 4).to(c10::kBFloat16);  // two chunks
  const auto targets = targets_of(300, 120011);
  const auto expected = differentiate(
      [&](const auto& h, const auto& w) { return reference_loss(at::linear(h, w), targets); },
      hidden.to(c10::kDouble), weight.to(c10::kDouble));
  for (const bool of_logits : {false, true}) {
    const auto actual = differentiate(
        [&](const auto& h, const auto& w) {
          return of_logits ? softmax_cross_entropy_(at::linear(h, w), targets)
                           : linear_cross_entropy(h, w, targets);
        },
        hidden, weight);
    EXPECT_EQ(actual.loss.scalar_type(), c10::kFloat);
    EXPECT_EQ(actual.hidden.scalar_type(), c10::kBFloat16);
    EXPECT_EQ(actual.weight.scalar_type(), c10::kBFloat16);
    expect_same({actual.loss.to(c10::kDouble), actual.hidden.to(c10::kDouble),
                 actual.weight.to(c10::kDouble)},
                expected, 1e-2);
    EXPECT_NEAR(actual.loss.item<double>() / expected.loss.item<double>(), 1.0, 1e-4);
  }
}

TEST_P(CrossEntropyIsaTest, ExtremeLogitsStayFiniteAndBadOnesShow) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto one_row = [](const std::vector<float>& logits) {
    const auto x = at::tensor(logits).unsqueeze(0).requires_grad_();
    const auto loss = softmax_cross_entropy_(x * 1.0f, at::zeros({1}, c10::kLong));
    loss.backward();
    return std::pair{loss.item<float>(), x.grad().squeeze(0)};
  };
  const auto [huge, huge_gradient] = one_row({-3e38f, 0.0f, 3e38f});
  EXPECT_EQ(huge, infinity);  // 6e38 is no float32
  EXPECT_TENSOR_NEAR(huge_gradient, at::tensor({-1.0f, 0.0f, 1.0f}), 0.0);
  const auto [masked, masked_gradient] = one_row({1.0f, -infinity, -infinity});
  EXPECT_EQ(masked, 0.0f);
  EXPECT_TENSOR_NEAR(masked_gradient, at::tensor({0.0f, 0.0f, 0.0f}), 0.0);
  const auto [tiny, tiny_gradient] = one_row({0.0f, -80.0f});
  EXPECT_GT(tiny_gradient[1].item<float>(), 0.0f);  // e^-80 is a normal number
  EXPECT_TRUE(std::isnan(one_row({0.0f, std::numeric_limits<float>::quiet_NaN()}).first));
  EXPECT_TRUE(std::isnan(one_row({0.0f, infinity}).first));
}

TEST_P(CrossEntropyIsaTest, ThreadsDoNotChangeTheLogitsForm) {
  const auto source = at::randn({64, 5003}), targets = targets_of(64, 5003);
  const auto run = [&](int num_threads) {
    at::set_num_threads(num_threads);
    const auto x = source.clone().requires_grad_();
    const auto loss = softmax_cross_entropy_(x * 1.0, targets);
    loss.backward();
    at::set_num_threads(1);
    return at::cat({x.grad().flatten(), loss.detach().view(1)});
  };
  EXPECT_TENSOR_NEAR(run(3), run(1), 0.0);
}

/// Counts the bytes that this thread's allocations hold at once.
class PeakMemory : public c10::MemoryReportingInfoBase {
 public:
  bool memoryProfilingEnabled() const override { return true; }
  void reportMemoryUsage(void*, std::int64_t alloc_size, std::size_t, std::size_t,
                         c10::Device) override {
    held_ += alloc_size;
    peak_ = std::max(peak_, held_);
  }
  std::int64_t peak() const { return peak_; }

 private:
  std::int64_t held_ = 0, peak_ = 0;
};

template <class Work>
std::int64_t peak_bytes(const Work& work) {
  const auto meter = std::make_shared<PeakMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  work();
  return meter->peak();
}

TEST_F(CrossEntropyTest, MemoryIsOneChunkAndTheGradients) {
  constexpr std::int64_t kRows = 1024, kClasses = 32768, kSize = 8;  // 128 MiB of logits
  constexpr std::int64_t kChunk = std::int64_t{64} << 20, kSmall = std::int64_t{1} << 18;
  const auto hidden = at::randn({kRows, kSize}).requires_grad_();
  const auto weight = at::randn({kClasses, kSize}).requires_grad_();
  const auto targets = targets_of(kRows, kClasses);
  const std::int64_t gradients = 4 * kSize * (kRows + kClasses);
  EXPECT_LE(peak_bytes([&] { linear_nll(hidden, weight, targets); }), kChunk + kSmall);
  EXPECT_LE(peak_bytes([&] { linear_cross_entropy(hidden, weight, targets).backward(); }),
            kChunk + gradients + kSmall);

  constexpr std::int64_t kLogits = 4 * kRows * kClasses;
  EXPECT_LE(
      peak_bytes([&] { softmax_cross_entropy_(at::linear(hidden, weight), targets).backward(); }),
      kLogits + gradients + kSmall);
  // What the measure would show without this file.
  EXPECT_GE(peak_bytes([&] { reference_loss(at::linear(hidden, weight), targets).backward(); }),
            2 * kLogits);
}

TEST_F(CrossEntropyTest, WhatWouldBeWrongIsRefused) {
  const auto hidden = at::randn({4, 3}).requires_grad_(), weight = at::randn({9, 3});
  const auto targets = targets_of(4, 9);
  EXPECT_THROW(linear_cross_entropy(hidden, at::randn({9, 4}), targets), c10::Error);
  EXPECT_THROW(linear_cross_entropy(hidden, weight.to(c10::kDouble), targets), c10::Error);
  EXPECT_THROW(linear_cross_entropy(hidden, weight, targets.to(c10::kInt)), c10::Error);
  EXPECT_THROW(linear_cross_entropy(hidden, weight, targets.narrow(0, 0, 3)), c10::Error);
  EXPECT_THROW(linear_cross_entropy(hidden, weight, at::full({4}, 9, c10::kLong)), c10::Error);
  EXPECT_THROW(linear_nll(hidden, weight, at::full({4}, -1, c10::kLong)), c10::Error);
  EXPECT_THROW(softmax_cross_entropy_(hidden, at::zeros({4}, c10::kLong)), c10::Error);  // a leaf

  const auto loss = linear_cross_entropy(hidden, weight, targets);
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(loss.backward(), c10::Error);
  const auto other = linear_cross_entropy(hidden, weight, targets);
  EXPECT_THROW(other.backward({}, /*retain_graph=*/true, /*create_graph=*/true), c10::Error);
  // tanh needs its result for its backward pass.
  const auto overwritten = softmax_cross_entropy_(at::tanh(at::linear(hidden, weight)), targets);
  EXPECT_THROW(overwritten.backward(), c10::Error);
}

}  // namespace
}  // namespace lowbank
