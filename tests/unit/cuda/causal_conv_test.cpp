#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include "cuda_support.h"
#include "kernels/cpu/causal_conv_core.h"

namespace lowbank::testing {
namespace {

struct ConvCase {
  std::int64_t batch, tokens, channels, width;
  bool has_bias;
  bool silu;
};

// Sequences shorter than the window, one token, none; tiles of 64 tokens that are full, cut and one
// token long; channels that fill no block.
constexpr ConvCase kConvCases[] = {
    {1, 1, 16, 4, true, true},    {2, 2, 37, 4, true, true},  {1, 3, 5, 4, false, true},
    {2, 64, 3, 4, true, true},    {3, 65, 9, 4, true, false}, {1, 9, 20, 1, true, true},
    {2, 17, 33, 7, false, false}, {2, 130, 3, 8, true, true}, {2, 0, 5, 4, true, true},
};

struct ConvData {
  ConvCase size;
  PaddedRows x, before, grad_y;
  std::vector<double> weight_WD, bias_D;
};

ConvData random_conv(const ConvCase& size) {
  NormalSource source(3);
  const auto [batch, tokens, channels, width, has_bias, silu] = size;
  return {.size = size,
          .x = padded_rows(source, batch, tokens, channels),
          .before = padded_rows(source, batch, width - 1, channels),
          .grad_y = padded_rows(source, batch, tokens, channels),
          .weight_WD = source.draw(width * channels),
          .bias_D = source.draw(has_bias ? channels : 0)};
}

// The output and the gradients, each of the operand that it is named after.
struct ConvResults {
  std::vector<double> y, x, before, weight, bias;
  bool operator==(const ConvResults&) const = default;
};

void expect_near(const ConvResults& got, const ConvResults& wanted, double relative) {
  EXPECT_TRUE(values_near(got.y, wanted.y, relative)) << "y";
  EXPECT_TRUE(values_near(got.x, wanted.x, relative)) << "gradient of x";
  EXPECT_TRUE(values_near(got.before, wanted.before, relative)) << "gradient of the state";
  EXPECT_TRUE(values_near(got.weight, wanted.weight, relative)) << "gradient of the weight";
  EXPECT_TRUE(values_near(got.bias, wanted.bias, relative)) << "gradient of the bias";
}

ConvResults on_the_cpu(const ConvData& data) {
  const auto [batch, tokens, channels, width, has_bias, silu] = data.size;
  const auto zeros = [](std::int64_t count) {
    return std::vector<double>(static_cast<std::size_t>(count));
  };
  ConvResults out = {.y = zeros(batch * tokens * channels),
                     .x = zeros(batch * tokens * channels),
                     .before = zeros(batch * (width - 1) * channels),
                     .weight = zeros(width * channels),
                     .bias = zeros(has_bias ? channels : 0)};
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto rows = [&](std::vector<double>& x, std::int64_t num_rows) {
      const std::int64_t stride = data.size.channels;
      return TokenRows<double>{x.data() + b * num_rows * stride, stride};
    };
    const ConvOperands<double> in = {.num_tokens = tokens,
                                     .num_channels = channels,
                                     .width = width,
                                     .x = data.x.of_sequence(b),
                                     .before = data.before.of_sequence(b),
                                     .weight_WD = data.weight_WD.data(),
                                     .bias_D = has_bias ? data.bias_D.data() : nullptr,
                                     .silu = silu};
    for (std::int64_t group = 0; group < num_scan_groups(channels); ++group) {
      causal_conv_forward({.in = in, .y = rows(out.y, tokens)}, group);
      causal_conv_backward({.in = in,
                            .grad_y = data.grad_y.of_sequence(b),
                            .grad_x = rows(out.x, tokens),
                            .grad_before = rows(out.before, width - 1),
                            .grad_weight_WD = out.weight.data(),
                            .grad_bias_D = has_bias ? out.bias.data() : nullptr},
                           group);
    }
  }
  return out;
}

ConvResults in_emulation(const ConvData& data) {
  const auto [batch, tokens, channels, width, has_bias, silu] = data.size;
  DeviceArrays device;
  const LowbankCudaConv conv = {.batch = batch,
                                .tokens = tokens,
                                .channels = channels,
                                .width = width,
                                .x = device.copy_of(data.x),
                                .before = device.copy_of(data.before),
                                .weight_WD = device.copy_of(data.weight_WD),
                                .bias_D = device.copy_of(data.bias_D),
                                .silu = silu ? 1 : 0};
  const std::int64_t num_inputs = batch * tokens * channels;
  const std::int64_t num_before = batch * (width - 1) * channels;
  const std::int64_t num_biases = has_bias ? channels : 0;
  const std::int64_t num_parts =
      batch * ((tokens + kLowbankCudaConvTile - 1) / kLowbankCudaConvTile);
  float* const y = device.unwritten(num_inputs);
  EXPECT_EQ(lowbank_cuda_conv_forward(&conv, y), 0);

  const auto grad_y = device.copy_of(data.grad_y);
  float* const sums = device.unwritten(num_inputs);
  float* const x = device.unwritten(num_inputs);
  float* const before = device.unwritten(num_before);
  float* const weight = device.unwritten(num_parts * width * channels);
  float* const bias = device.unwritten(num_parts * num_biases);
  EXPECT_EQ(lowbank_cuda_conv_backward(&conv, &grad_y, sums, x, before, weight,
                                       has_bias ? bias : nullptr),
            0);
  device.expect_intact();
  const auto sum = [&](const float* parts, std::int64_t size) {
    return sum_of_parts(values_of(parts, num_parts * size), num_parts, size);
  };
  return {.y = values_of(y, num_inputs),
          .x = values_of(x, num_inputs),
          .before = values_of(before, num_before),
          .weight = sum(weight, width * channels),
          .bias = sum(bias, num_biases)};
}

class CudaCausalConvTest : public CudaKernelTest {};

// float32 sums of up to 130 terms of order 1.
constexpr double kFloatConv = 3e-6;

TEST_F(CudaCausalConvTest, OutputAndGradientsAreThoseOfTheCpu) {
  for (const auto& size : kConvCases) {
    SCOPED_TRACE(::testing::Message() << size.batch << " x " << size.tokens << " x "
                                      << size.channels << ", width " << size.width);
    const auto data = random_conv(size);
    expect_near(in_emulation(data), on_the_cpu(data), kFloatConv);
  }
}

// A grid that the card's limit cuts off goes on in strides.
TEST_F(CudaCausalConvTest, FewerBlocksGiveTheSameBits) {
  const auto data = random_conv({2, 70, 70, 4, true, true});
  const auto wanted = in_emulation(data);
  for (const unsigned max_blocks : {1, 2}) {
    emulation::settings().max_blocks = max_blocks;
    EXPECT_EQ(in_emulation(data), wanted);
  }
}

TEST_F(CudaCausalConvTest, AWiderWindowThanTheBackwardPassHoldsIsRefused) {
  LowbankCudaConv conv = {};
  conv.width = kLowbankCudaConvMaxWidth + 1;
  EXPECT_EQ(lowbank_cuda_conv_backward(&conv, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lowbank::testing
