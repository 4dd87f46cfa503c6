#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/cuda/cuda_api.h"
#include "kernels/cuda/launch.h"

// A block has 32 neighbouring channels of one sequence and walks over the tokens in tiles. Four
// threads share a channel, each with a quarter of its states in registers; the eight channels of a
// warp read whole 32-byte sectors. What a tile's tokens need is brought to shared memory by all
// threads together, so that no load waits inside the recurrence.
namespace {

constexpr int kTile = kLowbankCudaScanTile;
constexpr int kChannels = kLowbankCudaScanChannels;
constexpr int kSplit = 4;  // threads a channel
constexpr int kThreads = kChannels * kSplit;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kWholeWarp = 0xFFFFFFFFu;
constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.693147180559945309417f;

using ChannelTile = float[kTile][kChannels];
template <int kStates>
using StateTile = float[kTile][kStates];

__device__ float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }
__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ float row_value(const LowbankCudaRows& rows, std::int64_t sequence, std::int64_t token,
                           std::int64_t column) {
  return rows.data[sequence * rows.batch_stride + token * rows.token_stride + column];
}

// The channel and the states of one thread.
struct Place {
  std::int64_t sequence;
  std::int64_t first_channel;  // of the block
  int channel;                 // in the block
  int split;
  std::int64_t at_channel;  // in the sequence; may be beyond the last one
};

__device__ Place find_place() {
  Place place;
  place.sequence = blockIdx.y;
  place.first_channel = std::int64_t{blockIdx.x} * kChannels;
  place.channel = static_cast<int>(threadIdx.x) / kSplit;
  place.split = static_cast<int>(threadIdx.x) % kSplit;
  place.at_channel = place.first_channel + place.channel;
  return place;
}

// Calls function(token in the tile, channel in the block, channel) for each existing element of a
// tile; neighbouring threads get neighbouring channels.
template <class Function>
__device__ void for_tile(int length, std::int64_t first_channel, std::int64_t num_channels,
                         const Function& function) {
  for (int i = static_cast<int>(threadIdx.x); i < length * kChannels; i += kThreads) {
    const std::int64_t channel = first_channel + i % kChannels;
    if (channel < num_channels) function(i / kChannels, i % kChannels, channel);
  }
}

// Loads values of B or C; 0 for states that do not exist.
template <int kStates>
__device__ void load_states(const LowbankCudaRows& rows, std::int64_t num_states,
                            std::int64_t sequence, std::int64_t begin, int length,
                            float (*out)[kStates]) {
  for (int i = static_cast<int>(threadIdx.x); i < length * kStates; i += kThreads) {
    const int t = i / kStates;
    const int n = i % kStates;
    out[t][n] = n < num_states ? row_value(rows, sequence, begin + t, n) : 0.0f;
  }
}

__device__ float sum_of_splits(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 1);
  return x + __shfl_xor_sync(kWholeWarp, x, 2);
}

__device__ float sum_of_channels(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 4);
  x += __shfl_xor_sync(kWholeWarp, x, 8);
  return x + __shfl_xor_sync(kWholeWarp, x, 16);
}

// Visits the thread's states, which are split, split + 4, ..., in [N, D] arrays, one per sequence.
template <int kOwn, class Function>
__device__ void for_own_states(const LowbankCudaScan& in, const Place& place,
                               std::int64_t array_index, const Function& function) {
#pragma unroll
  for (int s = 0; s < kOwn; ++s) {
    const int n = place.split + kSplit * s;
    if (n < in.states && place.at_channel < in.channels) {
      function(s, (array_index * in.states + n) * in.channels + place.at_channel);
    }
  }
}

template <int kOwn>
__global__ void __launch_bounds__(kThreads)
    scan_forward_kernel(LowbankCudaScan in, float* y_BTD, float* state_BND, float* tile_states) {
  constexpr int kStates = kOwn * kSplit;
  LOWBANK_SHARED(ChannelTile, u);
  LOWBANK_SHARED(ChannelTile, step);
  LOWBANK_SHARED(ChannelTile, y);
  LOWBANK_SHARED(StateTile<kStates>, b);
  LOWBANK_SHARED(StateTile<kStates>, c);
  const Place place = find_place();
  float h[kOwn] = {};
  float rate[kOwn] = {};  // A in powers of two
  for_own_states<kOwn>(in, place, place.sequence,
                       [&](int s, std::int64_t at) { h[s] = state_BND[at]; });
  for_own_states<kOwn>(in, place, 0,
                       [&](int s, std::int64_t at) { rate[s] = in.a_ND[at] * kLog2E; });
  const std::int64_t num_tiles = (in.tokens + kTile - 1) / kTile;
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    const std::int64_t begin = tile * kTile;
    const int length = static_cast<int>(in.tokens - begin < kTile ? in.tokens - begin : kTile);
    if (tile_states != nullptr) {
      for_own_states<kOwn>(in, place, place.sequence * num_tiles + tile,
                           [&](int s, std::int64_t at) { tile_states[at] = h[s]; });
    }
    for_tile(
        length, place.first_channel, in.channels, [&](int t, int column, std::int64_t channel) {
          const float bias = in.dt_bias_D != nullptr ? in.dt_bias_D[channel] : 0.0f;
          u[t][column] = row_value(in.u, place.sequence, begin + t, channel);
          step[t][column] = softplus(row_value(in.dt, place.sequence, begin + t, channel) + bias);
        });
    load_states<kStates>(in.b, in.states, place.sequence, begin, length, b);
    load_states<kStates>(in.c, in.states, place.sequence, begin, length, c);
    __syncthreads();
    const bool is_there = place.at_channel < in.channels;
    for (int t = 0; t < length; ++t) {
      const float own_step = is_there ? step[t][place.channel] : 0.0f;
      const float input = is_there ? own_step * u[t][place.channel] : 0.0f;
      float sum = 0.0f;
#pragma unroll
      for (int s = 0; s < kOwn; ++s) {
        const int n = place.split + kSplit * s;
        h[s] = exp2f(own_step * rate[s]) * h[s] + input * b[t][n];
        sum += h[s] * c[t][n];
      }
      sum = sum_of_splits(sum);
      if (place.split == 0) y[t][place.channel] = sum;
    }
    __syncthreads();
    for_tile(length, place.first_channel, in.channels,
             [&](int t, int column, std::int64_t channel) {
               float value = y[t][column];
               if (in.skip_D != nullptr) value += in.skip_D[channel] * u[t][column];
               if (in.z.data != nullptr) {
                 const float z = row_value(in.z, place.sequence, begin + t, channel);
                 value *= z * sigmoid(z);
               }
               y_BTD[(place.sequence * in.tokens + begin + t) * in.channels + channel] = value;
             });
    __syncthreads();
  }
  for_own_states<kOwn>(in, place, place.sequence,
                       [&](int s, std::int64_t at) { state_BND[at] = h[s]; });
}

// `history` (dynamic): [tile, own states, threads], the state before each token.
template <int kOwn>
__global__ void __launch_bounds__(kThreads)
    scan_backward_kernel(LowbankCudaScan in, const float* tile_states, LowbankCudaRows grad_y_BTD,
                         LowbankCudaScanGrads grads) {
  constexpr int kStates = kOwn * kSplit;
  using WarpTiles = StateTile<kStates>[kWarps];
  LOWBANK_DYNAMIC_SHARED(float, history);
  LOWBANK_SHARED(ChannelTile, u);
  LOWBANK_SHARED(ChannelTile, step);
  LOWBANK_SHARED(ChannelTile, slope);   // d step / d dt
  LOWBANK_SHARED(ChannelTile, grad_y);  // first of the output, then of what goes into the gate
  LOWBANK_SHARED(ChannelTile, y);       // before the gate; then the gradient of u
  LOWBANK_SHARED(ChannelTile, grad_dt);
  LOWBANK_SHARED(StateTile<kStates>, b);
  LOWBANK_SHARED(StateTile<kStates>, c);
  LOWBANK_SHARED(WarpTiles, grad_b);
  LOWBANK_SHARED(WarpTiles, grad_c);
  const Place place = find_place();
  const bool is_there = place.at_channel < in.channels;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const float skip = in.skip_D != nullptr && is_there ? in.skip_D[place.at_channel] : 0.0f;
  float rate[kOwn] = {};
  float grad_h[kOwn] = {};
  float grad_a[kOwn] = {};
  float grad_skip = 0.0f;
  float grad_bias = 0.0f;
  for_own_states<kOwn>(in, place, 0,
                       [&](int s, std::int64_t at) { rate[s] = in.a_ND[at] * kLog2E; });
  for_own_states<kOwn>(in, place, place.sequence,
                       [&](int s, std::int64_t at) { grad_h[s] = grads.state_BND[at]; });
  const std::int64_t num_tiles = (in.tokens + kTile - 1) / kTile;
  for (std::int64_t tile = num_tiles - 1; tile >= 0; --tile) {
    const std::int64_t begin = tile * kTile;
    const int length = static_cast<int>(in.tokens - begin < kTile ? in.tokens - begin : kTile);
    for_tile(length, place.first_channel, in.channels,
             [&](int t, int column, std::int64_t channel) {
               const float bias = in.dt_bias_D != nullptr ? in.dt_bias_D[channel] : 0.0f;
               const float dt = row_value(in.dt, place.sequence, begin + t, channel) + bias;
               u[t][column] = row_value(in.u, place.sequence, begin + t, channel);
               step[t][column] = softplus(dt);
               slope[t][column] = dt > 20.0f ? 1.0f : sigmoid(dt);
               grad_y[t][column] = row_value(grad_y_BTD, place.sequence, begin + t, channel);
             });
    load_states<kStates>(in.b, in.states, place.sequence, begin, length, b);
    load_states<kStates>(in.c, in.states, place.sequence, begin, length, c);
    float h[kOwn] = {};
    for_own_states<kOwn>(in, place, place.sequence * num_tiles + tile,
                         [&](int s, std::int64_t at) { h[s] = tile_states[at]; });
    __syncthreads();

    // The forward pass again.
    for (int t = 0; t < length; ++t) {
      const float own_step = is_there ? step[t][place.channel] : 0.0f;
      const float own_u = is_there ? u[t][place.channel] : 0.0f;
      float sum = 0.0f;
#pragma unroll
      for (int s = 0; s < kOwn; ++s) {
        const int n = place.split + kSplit * s;
        history[(t * kOwn + s) * kThreads + static_cast<int>(threadIdx.x)] = h[s];
        h[s] = exp2f(own_step * rate[s]) * h[s] + own_step * own_u * b[t][n];
        sum += h[s] * c[t][n];
      }
      sum = sum_of_splits(sum);
      if (place.split == 0) y[t][place.channel] = sum + skip * own_u;
    }
    __syncthreads();

    if (in.z.data != nullptr) {
      for_tile(length, place.first_channel, in.channels,
               [&](int t, int column, std::int64_t channel) {
                 const float z = row_value(in.z, place.sequence, begin + t, channel);
                 const float gate = sigmoid(z);
                 grads.z_BTD[(place.sequence * in.tokens + begin + t) * in.channels + channel] =
                     grad_y[t][column] * y[t][column] * gate * (1.0f + z * (1.0f - gate));
                 grad_y[t][column] *= z * gate;
               });
      __syncthreads();
    }

    for (int t = length - 1; t >= 0; --t) {
      const float own_step = is_there ? step[t][place.channel] : 0.0f;
      const float own_u = is_there ? u[t][place.channel] : 0.0f;
      const float own_grad_y = is_there ? grad_y[t][place.channel] : 0.0f;
      const float input = own_step * own_u;
      float grad_input = 0.0f;
      float grad_rate = 0.0f;  // of step, through the decay
#pragma unroll
      for (int s = 0; s < kOwn; ++s) {
        const int n = place.split + kSplit * s;
        const float before = history[(t * kOwn + s) * kThreads + static_cast<int>(threadIdx.x)];
        const float g = grad_h[s] + own_grad_y * c[t][n];
        const float part_c = sum_of_channels(own_grad_y * h[s]);
        const float part_b = sum_of_channels(input * g);
        if (threadIdx.x % 32 < kSplit) {
          grad_b[warp][t][n] = part_b;
          grad_c[warp][t][n] = part_c;
        }
        grad_input += g * b[t][n];
        const float passed = exp2f(own_step * rate[s]) * g;
        const float grad_product = passed * before;
        grad_a[s] += grad_product * own_step;
        grad_rate += grad_product * rate[s];
        grad_h[s] = passed;
        h[s] = before;
      }
      grad_input = sum_of_splits(grad_input);
      grad_rate = sum_of_splits(grad_rate);
      if (place.split == 0 && is_there) {
        const float own_grad_dt = (grad_rate * kLn2 + grad_input * own_u) * slope[t][place.channel];
        grad_dt[t][place.channel] = own_grad_dt;
        y[t][place.channel] = own_grad_y * skip + grad_input * own_step;
        grad_skip += own_grad_y * own_u;
        grad_bias += own_grad_dt;
      }
    }
    __syncthreads();

    for_tile(
        length, place.first_channel, in.channels, [&](int t, int column, std::int64_t channel) {
          const std::int64_t at = (place.sequence * in.tokens + begin + t) * in.channels + channel;
          grads.u_BTD[at] = y[t][column];
          grads.dt_BTD[at] = grad_dt[t][column];
        });
    for (int i = static_cast<int>(threadIdx.x); i < length * kStates; i += kThreads) {
      const int t = i / kStates;
      const int n = i % kStates;
      if (n >= in.states) continue;
      float sum_b = 0.0f;
      float sum_c = 0.0f;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        sum_b += grad_b[w][t][n];
        sum_c += grad_c[w][t][n];
      }
      const std::int64_t group = place.sequence * gridDim.x + blockIdx.x;
      const std::int64_t at = (group * in.tokens + begin + t) * in.states + n;
      grads.b_BGTN[at] = sum_b;
      grads.c_BGTN[at] = sum_c;
    }
    __syncthreads();
  }
  for_own_states<kOwn>(in, place, place.sequence, [&](int s, std::int64_t at) {
    grads.state_BND[at] = grad_h[s];
    grads.a_BND[at] = grad_a[s];
  });
  if (place.split == 0 && is_there) {
    const std::int64_t at = place.sequence * in.channels + place.at_channel;
    if (grads.skip_BD != nullptr) grads.skip_BD[at] = grad_skip;
    if (grads.dt_bias_BD != nullptr) grads.dt_bias_BD[at] = grad_bias;
  }
}

dim3 grid_of(const LowbankCudaScan& scan) {
  return {static_cast<unsigned>((scan.channels + kChannels - 1) / kChannels),
          static_cast<unsigned>(scan.batch), 1};
}

template <int kOwn>
cudaError_t launch_forward(const LowbankCudaScan& scan, float* y_BTD, float* state_BND,
                           float* tile_states) {
  return lowbank::launch(scan_forward_kernel<kOwn>, grid_of(scan), kThreads, 0, scan, y_BTD,
                         state_BND, tile_states);
}

template <int kOwn>
cudaError_t launch_backward(const LowbankCudaScan& scan, const float* tile_states,
                            const LowbankCudaRows& grad_y, const LowbankCudaScanGrads& grads) {
  constexpr int kHistoryBytes = kTile * kOwn * kThreads * static_cast<int>(sizeof(float));
  // Together with the fixed arrays this exceeds the 48 KiB that a kernel gets without asking.
  if (cudaFuncSetAttribute(scan_backward_kernel<kOwn>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           kHistoryBytes) != cudaSuccess) {
    return cudaGetLastError();
  }
  return lowbank::launch(scan_backward_kernel<kOwn>, grid_of(scan), kThreads, kHistoryBytes, scan,
                         tile_states, grad_y, grads);
}

constexpr std::int64_t kMaxBatch = 65535;  // of a grid's second dimension

bool is_refused(const LowbankCudaScan& scan) {
  return scan.states < 1 || scan.states > kLowbankCudaScanMaxStates || scan.batch > kMaxBatch;
}

}  // namespace

extern "C" int lowbank_cuda_scan_forward(const LowbankCudaScan* scan, float* y_BTD,
                                         float* state_BND, float* tile_states) {
  if (is_refused(*scan)) return cudaErrorInvalidValue;
  if (scan->states <= 4) return launch_forward<1>(*scan, y_BTD, state_BND, tile_states);
  if (scan->states <= 8) return launch_forward<2>(*scan, y_BTD, state_BND, tile_states);
  if (scan->states <= 16) return launch_forward<4>(*scan, y_BTD, state_BND, tile_states);
  return launch_forward<8>(*scan, y_BTD, state_BND, tile_states);
}

extern "C" int lowbank_cuda_scan_backward(const LowbankCudaScan* scan, const float* tile_states,
                                          const LowbankCudaRows* grad_y,
                                          const LowbankCudaScanGrads* grads) {
  if (is_refused(*scan)) return cudaErrorInvalidValue;
  if (scan->states <= 4) return launch_backward<1>(*scan, tile_states, *grad_y, *grads);
  if (scan->states <= 8) return launch_backward<2>(*scan, tile_states, *grad_y, *grads);
  if (scan->states <= 16) return launch_backward<4>(*scan, tile_states, *grad_y, *grads);
  return launch_backward<8>(*scan, tile_states, *grad_y, *grads);
}
