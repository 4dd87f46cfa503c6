#include "train/adamw.h"

#include <vector>

#include <ATen/ops/randn.h>
#include <torch/optim/adamw.h>

#include "torch_support.h"

namespace lowbank {
namespace {

class AdamWTest : public testing::SeededTest {};

torch::Tensor leaf(const torch::Tensor& value) { return value.clone().requires_grad_(true); }

TEST_F(AdamWTest, FollowsTorchAdamWOverSeveralSteps) {
  const auto matrix = at::randn({7, 5}), vector = at::randn({6});
  const auto own_matrix = leaf(matrix), own_vector = leaf(vector);
  const auto their_matrix = leaf(matrix), their_vector = leaf(vector);
  AdamW own({{"matrix", own_matrix}, {"vector", own_vector}},
            {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.3});
  const auto options = [](double weight_decay) {
    return torch::optim::AdamWOptions().betas({0.8, 0.95}).eps(1e-6).weight_decay(weight_decay);
  };
  torch::optim::AdamW theirs_matrix({their_matrix}, options(0.3));
  torch::optim::AdamW theirs_vector({their_vector}, options(0.0));
  for (int step = 0; step < 6; ++step) {
    const double learning_rate = 0.05 / (step + 1);
    const auto matrix_grad = at::randn({7, 5}), vector_grad = at::randn({6});
    for (const auto& tensor : {own_matrix, their_matrix}) tensor.mutable_grad() = matrix_grad;
    for (const auto& tensor : {own_vector, their_vector}) tensor.mutable_grad() = vector_grad;
    own.step(learning_rate);
    for (auto* optimizer : {&theirs_matrix, &theirs_vector}) {
      optimizer->param_groups()[0].options().set_lr(learning_rate);
      optimizer->step();
    }
  }
  // Six float32 updates of size 0.05, in another order of operations.
  EXPECT_TENSOR_NEAR(own_matrix, their_matrix, 1e-6);
  EXPECT_TENSOR_NEAR(own_vector, their_vector, 1e-6);
  EXPECT_GT((own_matrix - matrix).abs().max().item<double>(), 0.05);
}

TEST_F(AdamWTest, GoesOnExactlyFromASavedState) {
  const auto value = at::randn({4, 3});
  const auto straight = leaf(value), interrupted = leaf(value);
  AdamW first({{"w", straight}}, {}), second({{"w", interrupted}}, {});
  const std::vector<torch::Tensor> grads = {at::randn({4, 3}), at::randn({4, 3})};
  for (const auto& grad : grads) {
    straight.mutable_grad() = grad;
    first.step(0.1);
  }
  interrupted.mutable_grad() = grads[0];
  second.step(0.1);
  AdamW third({{"w", interrupted}}, {});
  const at::NoGradGuard no_grad;
  const auto saved = second.state();
  for (const auto& [name, tensor] : third.state()) tensor.copy_(saved.at(name));
  third.set_num_steps(second.num_steps());
  interrupted.mutable_grad() = grads[1];
  third.step(0.1);
  EXPECT_TRUE(straight.equal(interrupted));
  EXPECT_EQ(third.state().count("w.exp_avg_sq"), 1u);
}

TEST_F(AdamWTest, LeavesAParameterWithoutAGradientAlone) {
  const auto used = leaf(at::randn({2, 2})), unused = leaf(at::randn({2, 2}));
  const auto before = unused.detach().clone();
  AdamW optimizer({{"used", used}, {"unused", unused}}, {.weight_decay = 0.5});
  used.mutable_grad() = at::randn({2, 2});
  optimizer.step(0.1);
  EXPECT_TRUE(unused.equal(before));
}

TEST_F(AdamWTest, ClippingScalesAllGradientsToTheLargestNormAllowed) {
  const auto a = leaf(at::randn({3})), b = leaf(at::randn({2, 2}));
  a.mutable_grad() = torch::tensor({3.0f, 0.0f, 0.0f});
  b.mutable_grad() = torch::tensor({{4.0f, 0.0f}, {0.0f, 0.0f}});
  const NamedTensors parameters = {{"a", a}, {"b", b}};
  EXPECT_NEAR(clip_grad_norm_(parameters, 0), 5.0, 1e-6);  // 0: measured, not clipped
  EXPECT_NEAR(clip_grad_norm_(parameters, 10), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(a.grad()[0].item<float>(), 3.0f);
  EXPECT_NEAR(clip_grad_norm_(parameters, 2.5), 5.0, 1e-6);
  EXPECT_NEAR(a.grad()[0].item<double>(), 1.5, 1e-5);  // the 1e-6 added to the norm
  EXPECT_NEAR(b.grad()[0][0].item<double>(), 2.0, 1e-5);
}

}  // namespace
}  // namespace lowbank
