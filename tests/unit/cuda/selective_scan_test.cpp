#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <cuda_runtime.h>

#include "cuda_support.h"

namespace lowbank::testing {
namespace {

struct ScanCase {
  std::int64_t batch, tokens, channels, states;
  bool has_skip, has_gate, has_bias;
};

constexpr ScanCase all_of(std::int64_t batch, std::int64_t tokens, std::int64_t channels,
                          std::int64_t states) {
  return {batch, tokens, channels, states, true, true, true};
}

struct ScanData {
  ScanCase size;
  PaddedRows u, dt, z, b, c, grad_y;
  std::vector<double> a_ND, skip_D, bias_D, state_BND, grad_state_BND;
};

// Steps and decays as in trained models.
ScanData random_scan(const ScanCase& size) {
  NormalSource source(5);
  const auto [batch, tokens, channels, states, has_skip, has_gate, has_bias] = size;
  ScanData data = {.size = size,
                   .u = padded_rows(source, batch, tokens, channels),
                   .dt = padded_rows(source, batch, tokens, channels),
                   .z = has_gate ? padded_rows(source, batch, tokens, channels) : PaddedRows(),
                   .b = padded_rows(source, batch, tokens, states),
                   .c = padded_rows(source, batch, tokens, states),
                   .grad_y = padded_rows(source, batch, tokens, channels),
                   .a_ND = source.draw(states * channels),
                   .skip_D = source.draw(has_skip ? channels : 0),
                   .bias_D = source.draw(has_bias ? channels : 0),
                   .state_BND = source.draw(batch * states * channels),
                   .grad_state_BND = source.draw(batch * states * channels)};
  for (double& dt : data.dt.values) dt = static_cast<float>(dt - 2);
  for (double& a : data.a_ND) a = static_cast<float>(-std::exp(a));
  return data;
}

// The outputs, and the gradients of the operands that they are named after.
struct ScanResults {
  std::vector<double> y, final_state;
  std::vector<double> u, dt, z, b, c, a, skip, bias, state;
  bool operator==(const ScanResults&) const = default;
};

void expect_near(const ScanResults& got, const ScanResults& wanted, double relative) {
  EXPECT_TRUE(values_near(got.y, wanted.y, relative)) << "y";
  EXPECT_TRUE(values_near(got.final_state, wanted.final_state, relative)) << "final state";
  EXPECT_TRUE(values_near(got.u, wanted.u, relative)) << "gradient of u";
  EXPECT_TRUE(values_near(got.dt, wanted.dt, relative)) << "gradient of dt";
  EXPECT_TRUE(values_near(got.z, wanted.z, relative)) << "gradient of z";
  EXPECT_TRUE(values_near(got.b, wanted.b, relative)) << "gradient of B";
  EXPECT_TRUE(values_near(got.c, wanted.c, relative)) << "gradient of C";
  EXPECT_TRUE(values_near(got.a, wanted.a, relative)) << "gradient of A";
  EXPECT_TRUE(values_near(got.skip, wanted.skip, relative)) << "gradient of D";
  EXPECT_TRUE(values_near(got.bias, wanted.bias, relative)) << "gradient of the bias of dt";
  EXPECT_TRUE(values_near(got.state, wanted.state, relative)) << "gradient of the state";
}

void append(std::vector<double>& to, const std::vector<double>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

ScanResults on_the_cpu(const ScanData& data) {
  const auto [batch, tokens, channels, states, has_skip, has_gate, has_bias] = data.size;
  const auto zeros = [](std::int64_t count) {
    return std::vector<double>(static_cast<std::size_t>(count));
  };
  const std::int64_t num_groups = num_scan_groups(channels);
  const std::int64_t num_rows = batch * tokens * channels;
  ScanResults out = {.y = zeros(num_rows),
                     .final_state = data.state_BND,
                     .u = zeros(num_rows),
                     .dt = zeros(num_rows),
                     .z = zeros(has_gate ? num_rows : 0),
                     .b = {},
                     .c = {},
                     .a = zeros(states * channels),
                     .skip = zeros(has_skip ? channels : 0),
                     .bias = zeros(has_bias ? channels : 0),
                     .state = data.grad_state_BND};
  for (std::int64_t s = 0; s < batch; ++s) {
    const auto rows = [&](std::vector<double>& x) {
      const std::int64_t stride = data.size.channels;
      return TokenRows<double>{x.empty() ? nullptr : x.data() + s * data.size.tokens * stride,
                               stride};
    };
    const auto or_none = [](auto& x) { return x.empty() ? nullptr : x.data(); };
    const ScanOperands<double> in = {.num_tokens = tokens,
                                     .num_channels = channels,
                                     .num_states = states,
                                     .u = data.u.of_sequence(s),
                                     .dt = data.dt.of_sequence(s),
                                     .z = data.z.of_sequence(s),
                                     .b = data.b.of_sequence(s),
                                     .c = data.c.of_sequence(s),
                                     .a_ND = data.a_ND.data(),
                                     .skip_D = or_none(data.skip_D),
                                     .dt_bias_D = or_none(data.bias_D)};
    auto chunk_states = zeros(num_scan_chunks(tokens) * states * channels);
    auto b_GTN = zeros(num_groups * tokens * states);
    auto c_GTN = zeros(num_groups * tokens * states);
    for (std::int64_t group = 0; group < num_groups; ++group) {
      selective_scan_forward({.in = in,
                              .y = rows(out.y),
                              .state_ND = out.final_state.data() + s * states * channels,
                              .chunk_states_CND = chunk_states.data()},
                             group);
      selective_scan_backward({.in = in,
                               .chunk_states_CND = chunk_states.data(),
                               .grad_y = data.grad_y.of_sequence(s),
                               .grad_u = rows(out.u),
                               .grad_dt = rows(out.dt),
                               .grad_z = rows(out.z),
                               .grad_b_GTN = b_GTN.data(),
                               .grad_c_GTN = c_GTN.data(),
                               .grad_a_ND = out.a.data(),
                               .grad_skip_D = or_none(out.skip),
                               .grad_dt_bias_D = or_none(out.bias),
                               .grad_state_ND = out.state.data() + s * states * channels},
                              group);
    }
    append(out.b, sum_of_parts(b_GTN, num_groups, tokens * states));
    append(out.c, sum_of_parts(c_GTN, num_groups, tokens * states));
  }
  return out;
}

LowbankCudaScan on_device(const ScanData& data, DeviceArrays& device) {
  return {.batch = data.size.batch,
          .tokens = data.size.tokens,
          .channels = data.size.channels,
          .states = data.size.states,
          .u = device.copy_of(data.u),
          .dt = device.copy_of(data.dt),
          .z = device.copy_of(data.z),
          .b = device.copy_of(data.b),
          .c = device.copy_of(data.c),
          .a_ND = device.copy_of(data.a_ND),
          .skip_D = device.copy_of(data.skip_D),
          .dt_bias_D = device.copy_of(data.bias_D)};
}

ScanResults in_emulation(const ScanData& data) {
  const auto [batch, tokens, channels, states, has_skip, has_gate, has_bias] = data.size;
  const std::int64_t num_rows = batch * tokens * channels;
  const std::int64_t num_states = batch * states * channels;
  const std::int64_t num_tiles = (tokens + kLowbankCudaScanTile - 1) / kLowbankCudaScanTile;
  const std::int64_t num_groups =
      (channels + kLowbankCudaScanChannels - 1) / kLowbankCudaScanChannels;
  DeviceArrays device;
  const auto scan = on_device(data, device);
  float* const y = device.unwritten(num_rows);
  float* const final_state = device.copy_of(data.state_BND);
  float* const tile_states = device.unwritten(num_tiles * num_states);
  EXPECT_EQ(lowbank_cuda_scan_forward(&scan, y, final_state, tile_states), 0);

  const auto grad_y = device.copy_of(data.grad_y);
  const std::int64_t num_gates = has_gate ? num_rows : 0;
  const std::int64_t num_skips = has_skip ? channels : 0;
  const std::int64_t num_biases = has_bias ? channels : 0;
  const std::int64_t group_size = tokens * states;
  const auto or_none = [&](std::int64_t count) {
    return count > 0 ? device.unwritten(count) : nullptr;
  };
  const LowbankCudaScanGrads grads = {.u_BTD = device.unwritten(num_rows),
                                      .dt_BTD = device.unwritten(num_rows),
                                      .z_BTD = or_none(num_gates),
                                      .b_BGTN = device.unwritten(batch * num_groups * group_size),
                                      .c_BGTN = device.unwritten(batch * num_groups * group_size),
                                      .a_BND = device.unwritten(num_states),
                                      .skip_BD = or_none(batch * num_skips),
                                      .dt_bias_BD = or_none(batch * num_biases),
                                      .state_BND = device.copy_of(data.grad_state_BND)};
  EXPECT_EQ(lowbank_cuda_scan_backward(&scan, tile_states, &grad_y, &grads), 0);
  device.expect_intact();
  const auto sum = [](const float* parts, std::int64_t num_parts, std::int64_t size) {
    return sum_of_parts(values_of(parts, num_parts * size), num_parts, size);
  };
  ScanResults out = {.y = values_of(y, num_rows),
                     .final_state = values_of(final_state, num_states),
                     .u = values_of(grads.u_BTD, num_rows),
                     .dt = values_of(grads.dt_BTD, num_rows),
                     .z = values_of(grads.z_BTD, num_gates),
                     .b = {},
                     .c = {},
                     .a = sum(grads.a_BND, batch, states * channels),
                     .skip = sum(grads.skip_BD, batch, num_skips),
                     .bias = sum(grads.dt_bias_BD, batch, num_biases),
                     .state = values_of(grads.state_BND, num_states)};
  for (std::int64_t s = 0; s < batch; ++s) {
    const std::int64_t first = s * num_groups * group_size;
    append(out.b, sum(grads.b_BGTN + first, num_groups, group_size));
    append(out.c, sum(grads.c_BGTN + first, num_groups, group_size));
  }
  return out;
}

// float32 sums of up to a few hundred terms of the size of the largest result.
constexpr double kFloatScan = 3e-6;

class CudaSelectiveScanTest : public CudaKernelTest {};

void expect_the_cpu(const ScanData& data) {
  const auto& size = data.size;
  SCOPED_TRACE(::testing::Message() << size.batch << " x " << size.tokens << " x " << size.channels
                                    << ", states " << size.states << ", skip " << size.has_skip
                                    << ", gate " << size.has_gate << ", bias " << size.has_bias);
  expect_near(in_emulation(data), on_the_cpu(data), kFloatScan);
}

// Tiles of 16 tokens that are full, cut and one token long; blocks of 32 channels likewise; each of
// the four numbers of states a thread may have, filled and not; no token.
TEST_F(CudaSelectiveScanTest, OutputAndGradientsAreThoseOfTheCpu) {
  for (const auto& size :
       {all_of(1, 1, 1, 1), all_of(2, 17, 33, 5), all_of(1, 16, 32, 4), all_of(1, 35, 40, 16),
        all_of(3, 15, 7, 7), all_of(1, 33, 65, 3), all_of(2, 18, 5, 32), all_of(1, 2, 31, 17),
        all_of(1, 31, 3, 8), all_of(1, 3, 2, 9), all_of(2, 0, 5, 6)}) {
    expect_the_cpu(random_scan(size));
  }
}

TEST_F(CudaSelectiveScanTest, SkipGateAndBiasMayEachBeLeftOut) {
  for (int present = 0; present < 8; ++present) {
    expect_the_cpu(
        random_scan({2, 18, 5, 6, (present & 1) != 0, (present & 2) != 0, (present & 4) != 0}));
  }
}

// What races between the threads of a block would change.
TEST_F(CudaSelectiveScanTest, TheOrderOfTheThreadsChangesNoBit) {
  for (const auto& size : {all_of(2, 35, 33, 5), all_of(1, 17, 9, 16)}) {
    const auto data = random_scan(size);
    emulation::settings().order = emulation::Order::kAscending;
    const auto ascending = in_emulation(data);
    emulation::settings().order = emulation::Order::kDescending;
    EXPECT_EQ(in_emulation(data), ascending);
  }
}

TEST_F(CudaSelectiveScanTest, SaturatedStepsGatesAndDecaysAreThoseOfTheCpu) {
  auto data = random_scan(all_of(1, 20, 6, 5));
  const double dt[] = {19.9, 20.1, 60, -30, -100, 0};
  const double z[] = {90, -90, 20, -20, 0, 1};
  for (std::size_t t = 0; t < 20; ++t) {
    for (std::size_t d = 0; d < 6; ++d) {
      const auto at = t * static_cast<std::size_t>(data.dt.token_stride) + d;
      data.dt.values[at] = static_cast<float>(dt[(t + d) % 6]);
      data.z.values[at] = static_cast<float>(z[(t + 2 * d) % 6]);
    }
  }
  data.a_ND[0] = -3000;
  data.a_ND[7] = static_cast<float>(-1e-6);
  expect_the_cpu(data);
}

struct ForwardResults {
  std::vector<double> y, state;
  bool operator==(const ForwardResults&) const = default;
};

// Tokens [begin, end) of the data, from the given state, as inference runs them.
ForwardResults forward_alone(const ScanData& data, std::int64_t begin, std::int64_t end,
                             const std::vector<double>& state_BND) {
  DeviceArrays device;
  auto scan = on_device(data, device);
  for (LowbankCudaRows* const rows : {&scan.u, &scan.dt, &scan.z, &scan.b, &scan.c}) {
    rows->data += begin * rows->token_stride;
  }
  scan.tokens = end - begin;
  const std::int64_t num_rows = scan.batch * scan.tokens * scan.channels;
  float* const y = device.unwritten(num_rows);
  float* const state = device.copy_of(state_BND);
  EXPECT_EQ(lowbank_cuda_scan_forward(&scan, y, state, /*tile_states=*/nullptr), 0);
  device.expect_intact();
  return {values_of(y, num_rows), values_of(state, scan.batch * scan.states * scan.channels)};
}

TEST_F(CudaSelectiveScanTest, WithoutTheStatesOfTilesTheOutputIsTheSame) {
  const auto data = random_scan(all_of(2, 35, 5, 6));
  const auto trained = in_emulation(data);
  EXPECT_EQ(forward_alone(data, 0, 35, data.state_BND),
            (ForwardResults{trained.y, trained.final_state}));
}

TEST_F(CudaSelectiveScanTest, StepByStepAndInPartsEqualsOneWholeToTheBit) {
  const auto data = random_scan(all_of(1, 40, 5, 6));
  const auto whole = forward_alone(data, 0, 40, data.state_BND);
  for (const std::int64_t length : {1, 19}) {
    ForwardResults parts = {.y = {}, .state = data.state_BND};
    for (std::int64_t begin = 0; begin < 40; begin += length) {
      auto part =
          forward_alone(data, begin, std::min<std::int64_t>(begin + length, 40), parts.state);
      append(parts.y, part.y);
      parts.state = part.state;
    }
    EXPECT_EQ(parts, whole) << length << " tokens at a time";
  }
}

TEST_F(CudaSelectiveScanTest, SizesBeyondTheKernelsAreRefused) {
  const auto error_of = [](std::int64_t batch, std::int64_t states) {
    LowbankCudaScan scan = {};
    scan.batch = batch;
    scan.channels = 1;
    scan.states = states;
    const LowbankCudaScanGrads grads = {};
    const int error = lowbank_cuda_scan_forward(&scan, nullptr, nullptr, nullptr);
    EXPECT_EQ(lowbank_cuda_scan_backward(&scan, nullptr, &scan.u, &grads), error);
    return error;
  };
  EXPECT_EQ(error_of(1, 0), cudaErrorInvalidValue);
  EXPECT_EQ(error_of(1, kLowbankCudaScanMaxStates + 1), cudaErrorInvalidValue);
  EXPECT_EQ(error_of(65536, 1), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace lowbank::testing
