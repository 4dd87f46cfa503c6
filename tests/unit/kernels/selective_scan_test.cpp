#include "kernels/selective_scan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CPUAllocator.h>
#include <torch/csrc/autograd/autograd.h>

#include "kernels/cpu/selective_scan_core.h"
#include "torch_support.h"
#include "unit/kernels/kernels_fixture.h"

namespace lowbank {
namespace {

using torch::Tensor;

struct ScanShape {
  std::int64_t batch, tokens, channels, states;
  bool has_all;  // skip, gate, bias and initial state, or none of them
};

// The one table that all forms meet: chunk ends, a single token, channels that fill neither a
// vector nor a group, the unrolled number of states and others.
const std::vector<ScanShape>& scan_shapes() {
  static const std::vector<ScanShape> shapes = {
      {1, 1, 16, 16, true},    {2, 63, 37, 16, true}, {1, 64, 128, 16, false},
      {2, 65, 129, 16, true},  {1, 100, 5, 4, true},  {3, 130, 40, 7, false},
      {1, 200, 300, 16, true}, {1, 70, 20, 33, true}, {1, 4097, 24, 16, true}};
  return shapes;
}

// In double; steps and decays as in trained models.
SelectiveScanInput random_scan(const ScanShape& shape) {
  const auto options = at::TensorOptions(torch::kDouble);
  const auto [batch, tokens, channels, states, has_all] = shape;
  SelectiveScanInput in;
  in.u_BTD = at::randn({batch, tokens, channels}, options);
  in.dt_BTD = at::randn({batch, tokens, channels}, options) - 2;
  in.A_ND = -at::exp(at::randn({states, channels}, options));
  in.B_BTN = at::randn({batch, tokens, states}, options);
  in.C_BTN = at::randn({batch, tokens, states}, options);
  if (has_all) {
    in.D_D = at::randn({channels}, options);
    in.z_BTD = at::randn({batch, tokens, channels}, options);
    in.dt_bias_D = at::randn({channels}, options);
    in.initial_state_BND = at::randn({batch, states, channels}, options);
  }
  return in;
}

std::vector<Tensor*> fields_of(SelectiveScanInput& in) {
  return {&in.u_BTD,     &in.dt_BTD,           &in.A_ND, &in.B_BTN, &in.C_BTN, &in.D_D, &in.z_BTD,
          &in.dt_bias_D, &in.initial_state_BND};
}

SelectiveScanInput mapped(SelectiveScanInput in, const std::function<Tensor(const Tensor&)>& map) {
  for (Tensor* const field : fields_of(in)) {
    if (field->defined()) *field = map(*field);
  }
  return in;
}

SelectiveScanInput in_float(const SelectiveScanInput& in) {
  return mapped(in, [](const Tensor& x) { return x.to(torch::kFloat); });
}

SelectiveScanInput with_grad(const SelectiveScanInput& in) {
  return mapped(in, [](const Tensor& x) { return x.detach().clone().requires_grad_(); });
}

// The tokens [begin, begin + length), from the given state.
SelectiveScanInput part_of_scan(SelectiveScanInput in, std::int64_t begin, std::int64_t length,
                                const Tensor& state_BND) {
  for (Tensor* const field : {&in.u_BTD, &in.dt_BTD, &in.B_BTN, &in.C_BTN, &in.z_BTD}) {
    if (field->defined()) *field = field->narrow(1, begin, length);
  }
  in.initial_state_BND = state_BND;
  return in;
}

SelectiveScanOutput scan_step_by_step(const SelectiveScanInput& in) {
  const auto options = in.u_BTD.options();
  const auto state_BND =
      in.initial_state_BND.defined()
          ? in.initial_state_BND.clone()
          : at::zeros({in.u_BTD.size(0), in.A_ND.size(0), in.u_BTD.size(2)}, options);
  std::vector<Tensor> y_BD;
  for (std::int64_t t = 0; t < in.u_BTD.size(1); ++t) {
    const auto token = [&](const Tensor& x) { return x.defined() ? x.select(1, t) : x; };
    y_BD.push_back(selective_scan_step(state_BND, {.u_BD = token(in.u_BTD),
                                                   .dt_BD = token(in.dt_BTD),
                                                   .A_ND = in.A_ND,
                                                   .B_BN = token(in.B_BTN),
                                                   .C_BN = token(in.C_BTN),
                                                   .D_D = in.D_D,
                                                   .z_BD = token(in.z_BTD),
                                                   .dt_bias_D = in.dt_bias_D}));
  }
  return {.y_BTD = at::stack(y_BD, 1), .final_state_BND = state_BND};
}

// Relative to the largest element, at least 1: the sums have terms of its size.
double tolerance(const Tensor& wanted, double relative) {
  return relative * std::max(1.0, wanted.numel() == 0 ? 0.0 : wanted.abs().max().item<double>());
}

void expect_same(const SelectiveScanOutput& got, const SelectiveScanOutput& wanted,
                 double relative) {
  EXPECT_TENSOR_NEAR(got.y_BTD.cpu().to(torch::kDouble), wanted.y_BTD,
                     tolerance(wanted.y_BTD, relative));
  EXPECT_TENSOR_NEAR(got.final_state_BND.cpu().to(torch::kDouble), wanted.final_state_BND,
                     tolerance(wanted.final_state_BND, relative));
}

// Gradients of a sum of both outputs with fixed random weights.
std::vector<Tensor> gradients_of(const std::function<SelectiveScanOutput(SelectiveScanInput)>& scan,
                                 const SelectiveScanInput& input, const Tensor& grad_y,
                                 const Tensor& grad_state) {
  auto in = with_grad(input);
  const auto out = scan(in);
  std::vector<Tensor> wanted;
  for (const Tensor* const field : fields_of(in)) {
    if (field->defined()) wanted.push_back(*field);
  }
  return torch::autograd::grad({out.y_BTD, out.final_state_BND}, wanted,
                               {grad_y.to(out.y_BTD), grad_state.to(out.final_state_BND)});
}

class SelectiveScanTest : public testing::SeededTest {
 protected:
  // Output and gradients of `scan`, on operands that `map` makes of the double ones, against the
  // reference's.
  static void expect_the_reference(
      const std::function<SelectiveScanOutput(const SelectiveScanInput&)>& scan,
      const std::function<Tensor(const Tensor&)>& map, double relative, bool gradients = true) {
    for (const auto& shape : scan_shapes()) {
      SCOPED_TRACE(::testing::Message() << shape.batch << " x " << shape.tokens << " x "
                                        << shape.channels << ", states " << shape.states);
      const auto in = random_scan(shape);
      const auto wanted = selective_scan_reference(in);
      expect_same(scan(mapped(in, map)), wanted, relative);
      if (!gradients || shape.tokens > 1000) continue;
      const auto grad_y = at::randn_like(wanted.y_BTD);
      const auto grad_state = at::randn_like(wanted.final_state_BND);
      const auto expected = gradients_of(selective_scan_reference, in, grad_y, grad_state);
      const auto got = gradients_of(scan, mapped(in, map), grad_y, grad_state);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_TENSOR_NEAR(got[i].cpu().to(torch::kDouble), expected[i],
                           tolerance(expected[i], relative))
            << "gradient " << i;
      }
    }
  }
};

Tensor as_is(const Tensor& x) { return x; }
Tensor to_float(const Tensor& x) { return x.to(torch::kFloat); }

// float32 sums of up to a few hundred terms of the size of the largest result.
constexpr double kFloatScan = 3e-6;
constexpr double kDoubleScan = 1e-12;

TEST_F(SelectiveScanTest, TheFusedFormInDoubleIsTheReference) {
  expect_the_reference(selective_scan, as_is, kDoubleScan);
}

class SelectiveScanIsaTest : public testing::EveryIsa<SelectiveScanTest> {};
LOWBANK_EVERY_ISA(SelectiveScanIsaTest);

TEST_P(SelectiveScanIsaTest, TheFusedFormInFloatIsTheReference) {
  expect_the_reference(selective_scan, to_float, kFloatScan);
}

TEST_F(SelectiveScanTest, TheChunkedFormIsTheReference) {
  expect_the_reference([](const auto& in) { return selective_scan_chunked(in, 16); }, as_is,
                       kDoubleScan);
  expect_the_reference([](const auto& in) { return selective_scan_chunked(in, 5); }, to_float,
                       kFloatScan, /*gradients=*/false);
}

TEST_F(SelectiveScanTest, StepByStepIsTheReference) {
  expect_the_reference(scan_step_by_step, as_is, kDoubleScan, /*gradients=*/false);
  expect_the_reference(scan_step_by_step, to_float, kFloatScan, /*gradients=*/false);
}

// One token and one channel by hand: dt = log 2 for input 0, decay 2^-1, so h = h0 / 2 + 3 log 2.
TEST_F(SelectiveScanTest, OneTokenByHand) {
  const auto value = [](double x) { return at::ones({1, 1, 1}, torch::kDouble) * x; };
  const auto out = selective_scan({.u_BTD = value(1.5),
                                   .dt_BTD = value(0),
                                   .A_ND = value(-1)[0],
                                   .B_BTN = value(2),
                                   .C_BTN = value(10),
                                   .initial_state_BND = value(4)});
  EXPECT_NEAR(out.final_state_BND.item<double>(), 2 + 3 * std::log(2.0), 1e-14);
  EXPECT_NEAR(out.y_BTD.item<double>(), 20 + 30 * std::log(2.0), 1e-13);
}

TEST_F(SelectiveScanTest, GradientsAreTheSlopesOfTheOutput) {
  for (const ScanShape shape : {ScanShape{2, 67, 3, 2, true}, ScanShape{1, 5, 2, 16, true}}) {
    const auto in = random_scan(shape);
    const auto grad_y = at::randn_like(in.u_BTD);
    const auto grad_state = at::randn_like(in.initial_state_BND);
    const auto loss = [&](const SelectiveScanInput& at) {
      const auto out = selective_scan(at);
      return ((out.y_BTD * grad_y).sum() + (out.final_state_BND * grad_state).sum()).item<double>();
    };
    const auto gradients = gradients_of(selective_scan, in, grad_y, grad_state);
    auto moved = in;
    const auto fields = fields_of(moved);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto original = *fields[i];
      const auto direction = at::randn_like(original);
      constexpr double kStep = 1e-5;
      *fields[i] = original + kStep * direction;
      const double above = loss(moved);
      *fields[i] = original - kStep * direction;
      const double below = loss(moved);
      *fields[i] = original;
      const double wanted = (gradients[i] * direction).sum().item<double>();
      EXPECT_NEAR((above - below) / (2 * kStep), wanted, 1e-6 * std::max(1.0, std::abs(wanted)))
          << "operand " << i;
    }
  }
}

TEST_F(SelectiveScanTest, TwoHalvesEqualOneWholeToTheBit) {
  const auto in = in_float(random_scan({2, 150, 37, 16, true}));
  const auto whole = selective_scan(in);
  const auto first = selective_scan(part_of_scan(in, 0, 70, in.initial_state_BND));
  const auto second = selective_scan(part_of_scan(in, 70, 80, first.final_state_BND));
  EXPECT_TRUE(at::cat({first.y_BTD, second.y_BTD}, 1).equal(whole.y_BTD));
  EXPECT_TRUE(second.final_state_BND.equal(whole.final_state_BND));
}

TEST_F(SelectiveScanTest, GradientsPassThroughTheStateBetweenTwoHalves) {
  const auto in = random_scan({2, 150, 5, 16, true});
  const auto in_halves = [](const SelectiveScanInput& x) {
    const auto first = selective_scan(part_of_scan(x, 0, 70, x.initial_state_BND));
    const auto second = selective_scan(part_of_scan(x, 70, 80, first.final_state_BND));
    return SelectiveScanOutput{.y_BTD = at::cat({first.y_BTD, second.y_BTD}, 1),
                               .final_state_BND = second.final_state_BND};
  };
  const auto grad_y = at::randn_like(in.u_BTD);
  const auto grad_state = at::randn_like(in.initial_state_BND);
  const auto wanted = gradients_of(selective_scan, in, grad_y, grad_state);
  const auto got = gradients_of(in_halves, in, grad_y, grad_state);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TENSOR_NEAR(got[i], wanted[i], 1e-10);
}

TEST_F(SelectiveScanTest, ResultsAndGradientsDoNotDependOnTheThreads) {
  const auto in = in_float(random_scan({2, 130, 300, 16, true}));
  const auto grad_y = at::randn_like(in.u_BTD);
  const auto grad_state = at::randn_like(in.initial_state_BND);
  const auto one = selective_scan(in);
  const auto one_gradients = gradients_of(selective_scan, in, grad_y, grad_state);
  at::set_num_threads(2);
  const auto two = selective_scan(in);
  const auto two_gradients = gradients_of(selective_scan, in, grad_y, grad_state);
  at::set_num_threads(1);
  EXPECT_TRUE(one.y_BTD.equal(two.y_BTD));
  EXPECT_TRUE(one.final_state_BND.equal(two.final_state_BND));
  for (std::size_t i = 0; i < one_gradients.size(); ++i) {
    EXPECT_TRUE(one_gradients[i].equal(two_gradients[i])) << "gradient " << i;
  }
}

TEST_F(SelectiveScanTest, StridedSlicesAreReadInPlace) {
  auto in = in_float(random_scan({2, 67, 37, 16, true}));
  const auto wanted = selective_scan(in);
  const auto grad_y = at::randn_like(in.u_BTD);
  const auto grad_state = at::randn_like(in.initial_state_BND);
  const auto wanted_gradients = gradients_of(selective_scan, in, grad_y, grad_state);
  // As the mixer has them: x and z halves of one projection, dt, B and C parts of another.
  const auto xz = at::cat({in.u_BTD, in.z_BTD}, 2);
  in.u_BTD = xz.narrow(2, 0, 37);
  in.z_BTD = xz.narrow(2, 37, 37);
  const auto bc = at::cat({at::randn({2, 67, 3}), in.B_BTN, in.C_BTN}, 2);
  in.B_BTN = bc.narrow(2, 3, 16);
  in.C_BTN = bc.narrow(2, 19, 16);
  in.dt_BTD = in.dt_BTD.transpose(1, 2).contiguous().transpose(1, 2);
  const auto got = selective_scan(in);
  EXPECT_TRUE(got.y_BTD.equal(wanted.y_BTD));
  EXPECT_TRUE(got.final_state_BND.equal(wanted.final_state_BND));
  const auto gradients = gradients_of(selective_scan, in, grad_y, grad_state);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_TRUE(gradients[i].equal(wanted_gradients[i])) << "gradient " << i;
  }
}

TEST_F(SelectiveScanTest, HalfTypesAreComputedInFloat) {
  const auto in = in_float(random_scan({2, 67, 37, 16, true}));
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    auto half = in;
    for (Tensor* const field : {&half.u_BTD, &half.dt_BTD, &half.B_BTN, &half.C_BTN, &half.z_BTD}) {
      *field = field->to(type);
    }
    const auto wanted = selective_scan(in_float(half));
    const auto got = selective_scan(half);
    EXPECT_TRUE(got.y_BTD.equal(wanted.y_BTD.to(type)));
    EXPECT_TRUE(got.final_state_BND.equal(wanted.final_state_BND));
    const auto gradients =
        gradients_of(selective_scan, half, at::randn_like(in.u_BTD), wanted.final_state_BND);
    EXPECT_EQ(gradients[0].scalar_type(), type);
    EXPECT_EQ(gradients[2].scalar_type(), torch::kFloat);
  }
}

// Peak of what LibTorch's CPU allocator holds.
class MemoryMeter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*ptr*/, std::int64_t alloc_size, std::size_t /*total_allocated*/,
                         std::size_t /*total_reserved*/, c10::Device /*device*/) override {
    now_ += alloc_size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t peak_bytes() const { return peak_; }

 private:
  std::int64_t now_ = 0;
  std::int64_t peak_ = 0;
};

std::int64_t peak_bytes_of(const std::function<void()>& function) {
  const auto meter = std::make_shared<MemoryMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  function();
  return meter->peak_bytes();
}

TEST_F(SelectiveScanTest, MemoryGrowsByAFewRowsATokenAndNotByTheStates) {
  constexpr std::int64_t kTokens = 512;
  constexpr std::int64_t kChannels = 256;
  constexpr std::int64_t kRowBytes = kTokens * kChannels * 4;
  const auto peak_of = [&](std::int64_t tokens, bool train) {
    auto in = in_float(random_scan({1, tokens, kChannels, 16, true}));
    in = mapped(in, [&](const Tensor& x) { return x.clone().requires_grad_(train); });
    return peak_bytes_of([&] {
      const auto out = selective_scan(in);
      if (train) out.y_BTD.sum().backward();
    });
  };
  // y alone in inference. In training y, the states kept, three gradients of rows and those of B
  // and C; the states of all tokens would be 16 rows.
  EXPECT_LT(peak_of(kTokens, false), 1.3 * kRowBytes);
  EXPECT_LT(peak_of(kTokens, true), 6.5 * kRowBytes);
  EXPECT_LT(peak_of(8 * kTokens, true), 8 * 6.5 * kRowBytes);
}

TEST_F(SelectiveScanTest, WrongOperandsAreRefused) {
  const auto good = in_float(random_scan({2, 5, 8, 4, true}));
  EXPECT_NO_THROW(selective_scan(good));
  auto in = good;
  in.A_ND = good.A_ND.t();
  EXPECT_THROW(selective_scan(in), c10::Error);
  in = good;
  in.C_BTN = good.C_BTN.narrow(1, 0, 4);
  EXPECT_THROW(selective_scan(in), c10::Error);
  in = good;
  in.u_BTD = good.u_BTD.to(torch::kLong);
  EXPECT_THROW(selective_scan(in), c10::Error);
  in = good;
  in.initial_state_BND = good.initial_state_BND.narrow(0, 0, 1);
  EXPECT_THROW(selective_scan(in), c10::Error);
  in = good;
  in.B_BTN = Tensor();
  EXPECT_THROW(selective_scan(in), c10::Error);
}

TEST_F(SelectiveScanTest, SecondDerivativesAreRefusedRatherThanWrong) {
  const auto in = with_grad(random_scan({1, 5, 3, 2, true}));
  const auto y = selective_scan(in).y_BTD;
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {in.u_BTD}, {}, /*retain_graph=*/true,
                                     /*create_graph=*/true),
               c10::Error);
}

TEST_F(SelectiveScanTest, TheGpuGivesTheReference_CUDA) {
  const auto to_gpu = [](const Tensor& x) { return x.to(c10::kCUDA, torch::kFloat); };
  expect_the_reference(selective_scan, to_gpu, kFloatScan);
  expect_the_reference(scan_step_by_step, to_gpu, kFloatScan, /*gradients=*/false);
}

}  // namespace
}  // namespace lowbank
