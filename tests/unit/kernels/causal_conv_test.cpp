#include "kernels/causal_conv.h"

#include <algorithm>
#include <functional>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "kernels/cpu/causal_conv_core.h"
#include "torch_support.h"
#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using torch::Tensor;

struct ConvShape {
  std::int64_t batch, tokens, channels, width;
  bool has_all;  // bias and initial state
  bool silu;
};

// Sequences shorter than the window, one token, channels that fill neither a vector nor a group.
const std::vector<ConvShape>& conv_shapes() {
  static const std::vector<ConvShape> shapes = {
      {1, 1, 16, 4, true, true},    {2, 2, 37, 4, true, true},     {1, 3, 5, 4, false, true},
      {3, 64, 129, 4, true, true},  {2, 100, 300, 4, true, false}, {1, 9, 20, 1, true, true},
      {2, 17, 33, 7, false, false}, {1, 4097, 24, 4, true, true}};
  return shapes;
}

CausalConvInput random_conv(const ConvShape& shape) {
  const auto options = at::TensorOptions(torch::kDouble);
  CausalConvInput in;
  in.x_BTD = at::randn({shape.batch, shape.tokens, shape.channels}, options);
  in.weight_DW = at::randn({shape.channels, shape.width}, options);
  if (shape.has_all) {
    in.bias_D = at::randn({shape.channels}, options);
    in.initial_state_BWD = at::randn({shape.batch, shape.width - 1, shape.channels}, options);
  }
  in.silu = shape.silu;
  return in;
}

std::vector<Tensor*> conv_fields_of(CausalConvInput& in) {
  return {&in.x_BTD, &in.weight_DW, &in.bias_D, &in.initial_state_BWD};
}

CausalConvInput mapped_conv(CausalConvInput in, const std::function<Tensor(const Tensor&)>& map) {
  for (Tensor* const field : conv_fields_of(in)) {
    if (field->defined()) *field = map(*field);
  }
  return in;
}

CausalConvOutput conv_step_by_step(const CausalConvInput& in) {
  const auto state_BWD =
      in.initial_state_BWD.defined()
          ? in.initial_state_BWD.clone()
          : at::zeros({in.x_BTD.size(0), in.weight_DW.size(1) - 1, in.x_BTD.size(2)},
                      in.x_BTD.options());
  std::vector<Tensor> y_BD;
  for (std::int64_t t = 0; t < in.x_BTD.size(1); ++t) {
    y_BD.push_back(
        causal_conv_step(state_BWD, in.x_BTD.select(1, t), in.weight_DW, in.bias_D, in.silu));
  }
  return {.y_BTD = at::stack(y_BD, 1), .final_state_BWD = state_BWD};
}

using ConvForm = std::function<CausalConvOutput(const CausalConvInput&)>;

std::vector<Tensor> conv_gradients_of(const ConvForm& conv, const CausalConvInput& input,
                                      const Tensor& grad_y, const Tensor& grad_state) {
  auto in = mapped_conv(input, [](const Tensor& x) { return x.detach().clone().requires_grad_(); });
  const auto out = conv(in);
  std::vector<Tensor> wanted;
  for (const Tensor* const field : conv_fields_of(in)) {
    if (field->defined()) wanted.push_back(*field);
  }
  return torch::autograd::grad({out.y_BTD, out.final_state_BWD}, wanted,
                               {grad_y.to(out.y_BTD), grad_state.to(out.final_state_BWD)});
}

class CausalConvTest : public testing::SeededTest {
 protected:
  static void expect_the_reference(const ConvForm& conv,
                                   const std::function<Tensor(const Tensor&)>& map, double relative,
                                   bool gradients = true) {
    for (const auto& shape : conv_shapes()) {
      SCOPED_TRACE(::testing::Message() << shape.batch << " x " << shape.tokens << " x "
                                        << shape.channels << ", width " << shape.width);
      const auto in = random_conv(shape);
      const auto near = [&](const Tensor& got, const Tensor& wanted) {
        const double scale =
            wanted.numel() == 0 ? 1.0 : std::max(1.0, wanted.abs().max().item<double>());
        EXPECT_TENSOR_NEAR(got.cpu().to(torch::kDouble), wanted, relative * scale);
      };
      const auto wanted = causal_conv_reference(in);
      const auto got = conv(mapped_conv(in, map));
      near(got.y_BTD, wanted.y_BTD);
      near(got.final_state_BWD, wanted.final_state_BWD);
      if (!gradients) continue;
      const auto grad_y = at::randn_like(wanted.y_BTD);
      const auto grad_state = at::randn_like(wanted.final_state_BWD);
      const auto expected = conv_gradients_of(causal_conv_reference, in, grad_y, grad_state);
      const auto grads = conv_gradients_of(conv, mapped_conv(in, map), grad_y, grad_state);
      ASSERT_EQ(grads.size(), expected.size());
      for (std::size_t i = 0; i < grads.size(); ++i) {
        SCOPED_TRACE(::testing::Message() << "gradient " << i);
        near(grads[i], expected[i]);
      }
    }
  }
};

Tensor conv_as_is(const Tensor& x) { return x; }
Tensor conv_to_float(const Tensor& x) { return x.to(torch::kFloat); }

// The sums over 4097 tokens are of order 60 in terms of order 1.
constexpr double kFloatConv = 3e-6;
constexpr double kDoubleConv = 1e-12;

TEST_F(CausalConvTest, InDoubleIsTheReference) {
  expect_the_reference(causal_conv, conv_as_is, kDoubleConv);
}

class CausalConvIsaTest : public testing::EveryIsa<CausalConvTest> {};
LOWBANK_EVERY_ISA(CausalConvIsaTest);

TEST_P(CausalConvIsaTest, InFloatIsTheReference) {
  expect_the_reference(causal_conv, conv_to_float, kFloatConv);
}

TEST_F(CausalConvTest, StepByStepIsTheReference) {
  expect_the_reference(conv_step_by_step, conv_as_is, kDoubleConv, /*gradients=*/false);
  expect_the_reference(conv_step_by_step, conv_to_float, kFloatConv, /*gradients=*/false);
}

TEST_F(CausalConvTest, TheLastWeightMeetsTheNewestToken) {
  const auto out = causal_conv({.x_BTD = at::tensor({1.0, 2.0, 3.0}).view({1, 3, 1}),
                                .weight_DW = at::tensor({100.0, 10.0, 1.0}).view({1, 3}),
                                .bias_D = at::tensor({0.5}),
                                .initial_state_BWD = at::tensor({8.0, 9.0}).view({1, 2, 1}),
                                .silu = false});
  EXPECT_TENSOR_NEAR(out.y_BTD.flatten(), at::tensor({891.5, 912.5, 123.5}), 0);
  EXPECT_TENSOR_NEAR(out.final_state_BWD.flatten(), at::tensor({2.0, 3.0}), 0);
}

TEST_F(CausalConvTest, TwoPartsEqualOneWholeToTheBit) {
  const auto in = mapped_conv(random_conv({2, 20, 37, 4, true, true}), conv_to_float);
  const auto whole = causal_conv(in);
  for (const std::int64_t split : {1, 2, 3, 11}) {
    auto first = in;
    first.x_BTD = in.x_BTD.narrow(1, 0, split);
    const auto a = causal_conv(first);
    auto second = in;
    second.x_BTD = in.x_BTD.narrow(1, split, 20 - split);
    second.initial_state_BWD = a.final_state_BWD;
    const auto b = causal_conv(second);
    EXPECT_TRUE(at::cat({a.y_BTD, b.y_BTD}, 1).equal(whole.y_BTD)) << split;
    EXPECT_TRUE(b.final_state_BWD.equal(whole.final_state_BWD)) << split;
  }
}

TEST_F(CausalConvTest, NeitherThreadsNorStridesChangeTheBits) {
  const auto in = mapped_conv(random_conv({2, 50, 300, 4, true, true}), conv_to_float);
  const auto grad_y = at::randn_like(in.x_BTD);
  const auto grad_state = at::randn_like(in.initial_state_BWD);
  const auto one = causal_conv(in);
  const auto one_gradients = conv_gradients_of(causal_conv, in, grad_y, grad_state);
  at::set_num_threads(2);
  auto strided = in;
  strided.x_BTD = at::cat({in.x_BTD, in.x_BTD}, 2).narrow(2, 300, 300);
  const auto two = causal_conv(strided);
  const auto two_gradients = conv_gradients_of(causal_conv, strided, grad_y, grad_state);
  at::set_num_threads(1);
  EXPECT_TRUE(one.y_BTD.equal(two.y_BTD));
  for (std::size_t i = 0; i < one_gradients.size(); ++i) {
    EXPECT_TRUE(one_gradients[i].equal(two_gradients[i])) << "gradient " << i;
  }
}

TEST_F(CausalConvTest, TheFinalStateIsATensorOfItsOwn) {
  const auto in = random_conv({1, 20, 5, 4, true, true});
  const auto state = causal_conv(in).final_state_BWD;
  const auto before = state.clone();
  in.x_BTD.zero_();
  EXPECT_TRUE(state.equal(before));
}

TEST_F(CausalConvTest, HalfTypesAreComputedInFloat) {
  const auto in = mapped_conv(random_conv({2, 20, 37, 4, true, true}), conv_to_float);
  auto half = in;
  half.x_BTD = in.x_BTD.to(torch::kBFloat16);
  const auto out = causal_conv(half);
  auto rounded = in;
  rounded.x_BTD = half.x_BTD.to(torch::kFloat);
  rounded.initial_state_BWD = in.initial_state_BWD.to(torch::kBFloat16).to(torch::kFloat);
  EXPECT_TRUE(out.y_BTD.equal(causal_conv(rounded).y_BTD.to(torch::kBFloat16)));
  EXPECT_EQ(out.final_state_BWD.scalar_type(), torch::kBFloat16);
}

TEST_F(CausalConvTest, WrongOperandsAreRefused) {
  const auto good = random_conv({2, 5, 8, 4, true, true});
  EXPECT_NO_THROW(causal_conv(good));
  auto in = good;
  in.weight_DW = good.weight_DW.t();
  EXPECT_THROW(causal_conv(in), c10::Error);
  in = good;
  in.initial_state_BWD = at::zeros({2, 4, 8});
  EXPECT_THROW(causal_conv(in), c10::Error);
  in = good;
  in.bias_D = at::zeros({7});
  EXPECT_THROW(causal_conv(in), c10::Error);
}

TEST_F(CausalConvTest, TheGpuGivesTheReference_CUDA) {
  const auto to_gpu = [](const Tensor& x) { return x.to(c10::kCUDA, torch::kFloat); };
  expect_the_reference(causal_conv, to_gpu, kFloatConv);
  expect_the_reference(conv_step_by_step, to_gpu, kFloatConv, /*gradients=*/false);
}

}  // namespace
}  // namespace lowbank
