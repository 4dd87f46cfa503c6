// The selective scan over one group of channels, for every instruction set (see pack.h).
#pragma once

#include "kernels/cpu/pack.h"
#include "kernels/cpu/selective_scan_core.h"

namespace lowbank::LOWBANK_ISA {
namespace {

constexpr double kLog2EExact = 1.44269504088896340736;
constexpr double kLn2Exact = 0.693147180559945309417;

// kStates 0: the number is known at run time and the states live in scratch.
template <class V, int kStates>
struct StateStore {
  V local[kStates];
  explicit StateStore(V* /*scratch*/) {}
  V* get() { return local; }
};
template <class V>
struct StateStore<V, 0> {
  V* local;
  explicit StateStore(V* scratch) : local(scratch) {}
  V* get() { return local; }
};

// A loop with index n, unrolled if the number of states is known, so that the states are registers.
#define LOWBANK_FOR_EACH_STATE \
  _Pragma("GCC unroll 16") for (std::int64_t n = 0; n < num_states; ++n)

template <class V, int kStates>
void forward_block(const ScanForward<ScalarOf<V>>& scan, std::int64_t begin, std::int64_t end,
                   std::int64_t channel, int count, V* scratch) {
  using S = ScalarOf<V>;
  const auto& in = scan.in;
  const std::int64_t num_states = kStates > 0 ? kStates : in.num_states;
  const std::int64_t num_channels = in.num_channels;
  // Ahead of the recurrence: here no token waits for another one.
  V* const step = scratch;
  V* const gate = step + kScanChunkTokens;
  const V bias = in.dt_bias_D != nullptr ? load<V>(in.dt_bias_D + channel, count) : V{};
  for (std::int64_t t = begin; t < end; ++t) {
    const V dt = load<V>(in.dt.data + t * in.dt.stride + channel, count);
    step[t - begin] = softplus(dt + bias).value;
  }
  if (in.z.data != nullptr) {
    for (std::int64_t t = begin; t < end; ++t) {
      const V z = load<V>(in.z.data + t * in.z.stride + channel, count);
      gate[t - begin] = z * sigmoid(z);
    }
  }
  StateStore<V, kStates> states(gate + kScanChunkTokens);
  StateStore<V, kStates> rates(gate + kScanChunkTokens + num_states);
  V* const h = states.get();
  V* const rate = rates.get();  // A in powers of two
  LOWBANK_FOR_EACH_STATE {
    h[n] = load<V>(scan.state_ND + n * num_channels + channel, count);
    rate[n] = load<V>(in.a_ND + n * num_channels + channel, count) * static_cast<S>(kLog2EExact);
  }
  if (scan.chunk_states_CND != nullptr) {
    S* const saved =
        scan.chunk_states_CND + begin / kScanChunkTokens * num_states * num_channels + channel;
    LOWBANK_FOR_EACH_STATE store<V>(saved + n * num_channels, h[n], count);
  }
  const V skip = in.skip_D != nullptr ? load<V>(in.skip_D + channel, count) : V{};
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t i = t - begin;
    const S* const b = in.b.data + t * in.b.stride;
    const S* const c = in.c.data + t * in.c.stride;
    const V u = load<V>(in.u.data + t * in.u.stride + channel, count);
    const V input = step[i] * u;
    V y = skip * u;
    LOWBANK_FOR_EACH_STATE {
      h[n] = exp2_product(step[i], rate[n]) * h[n] + input * b[n];
      y += h[n] * c[n];
    }
    if (in.z.data != nullptr) y *= gate[i];
    store<V>(scan.y.data + t * scan.y.stride + channel, y, count);
  }
  LOWBANK_FOR_EACH_STATE store<V>(scan.state_ND + n * num_channels + channel, h[n], count);
}

inline std::int64_t group_end(std::int64_t group, std::int64_t num_channels) {
  const std::int64_t end = (group + 1) * kScanGroupChannels;
  return end < num_channels ? end : num_channels;
}

template <class V>
int lanes_left(std::int64_t channel, std::int64_t end) {
  return end - channel < PackTraits<V>::kLanes ? static_cast<int>(end - channel)
                                               : PackTraits<V>::kLanes;
}

// The outer loop is over chunks, the inner one over channels, so that the rows of a chunk are still
// in the cache when the next channels need them.
template <class V>
void forward_group(const ScanForward<ScalarOf<V>>& scan, std::int64_t group, void* scratch) {
  const auto& in = scan.in;
  const std::int64_t last = group_end(group, in.num_channels);
  auto* const work = static_cast<V*>(scratch);
  for (std::int64_t begin = 0; begin < in.num_tokens; begin += kScanChunkTokens) {
    const std::int64_t end =
        begin + kScanChunkTokens < in.num_tokens ? begin + kScanChunkTokens : in.num_tokens;
    for (std::int64_t channel = group * kScanGroupChannels; channel < last;
         channel += PackTraits<V>::kLanes) {
      const int count = lanes_left<V>(channel, last);
      if (in.num_states == 16) {
        forward_block<V, 16>(scan, begin, end, channel, count, work);
      } else {
        forward_block<V, 0>(scan, begin, end, channel, count, work);
      }
    }
  }
}

// The arrays of the backward pass of one chunk.
template <class V>
struct ChunkScratch {
  V* h;       // [chunk + 1, N]: the state before the token, and the last
  V* decay;   // [chunk, N]
  V* grad_b;  // [chunk, N], summed over the channels of a lane
  V* grad_c;  // likewise
  V* y;       // [chunk], before the gate
  V* step;    // [chunk]
  V* slope;   // [chunk]: d step / d dt
  V* gate;    // [chunk]: sigmoid of z
  V* grad_h;  // [N]
  V* grad_a;  // [N]
  V* rate;    // [N]
};

template <class V>
ChunkScratch<V> divide_scratch(void* scratch, std::int64_t num_states) {
  auto* next = static_cast<V*>(scratch);
  const auto take = [&next](std::int64_t count) {
    V* const here = next;
    next += count;
    return here;
  };
  constexpr std::int64_t kLength = kScanChunkTokens;
  ChunkScratch<V> out = {};
  out.h = take((kLength + 1) * num_states);
  out.decay = take(kLength * num_states);
  out.grad_b = take(kLength * num_states);
  out.grad_c = take(kLength * num_states);
  out.y = take(kLength);
  out.step = take(kLength);
  out.slope = take(kLength);
  out.gate = take(kLength);
  out.grad_h = take(num_states);
  out.grad_a = take(num_states);
  out.rate = take(num_states);
  return out;
}

// The forward pass again, over the chunk whose first state is work.h[0].
template <class V, int kStates>
void recompute_block(const ScanOperands<ScalarOf<V>>& in, std::int64_t begin, std::int64_t end,
                     std::int64_t channel, int count, const ChunkScratch<V>& work) {
  using S = ScalarOf<V>;
  const std::int64_t num_states = kStates > 0 ? kStates : in.num_states;
  StateStore<V, kStates> states(work.grad_h);
  V* const h = states.get();
  LOWBANK_FOR_EACH_STATE h[n] = work.h[n];
  const V skip = in.skip_D != nullptr ? load<V>(in.skip_D + channel, count) : V{};
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t i = t - begin;
    const S* const b = in.b.data + t * in.b.stride;
    const S* const c = in.c.data + t * in.c.stride;
    V* const decay = work.decay + i * num_states;
    V* const after = work.h + (i + 1) * num_states;
    const V u = load<V>(in.u.data + t * in.u.stride + channel, count);
    const V step = work.step[i];
    const V input = step * u;
    V y = skip * u;
    LOWBANK_FOR_EACH_STATE {
      decay[n] = exp2_product(step, work.rate[n]);
      h[n] = decay[n] * h[n] + input * b[n];
      after[n] = h[n];
      y += h[n] * c[n];
    }
    work.y[i] = y;
  }
}

template <class V, int kStates>
void backward_block(const ScanBackward<ScalarOf<V>>& scan, std::int64_t begin, std::int64_t end,
                    std::int64_t channel, int count, const ChunkScratch<V>& work) {
  using S = ScalarOf<V>;
  const auto& in = scan.in;
  const std::int64_t num_states = kStates > 0 ? kStates : in.num_states;
  const std::int64_t num_channels = in.num_channels;
  const S* const saved =
      scan.chunk_states_CND + begin / kScanChunkTokens * num_states * num_channels + channel;
  LOWBANK_FOR_EACH_STATE {
    work.h[n] = load<V>(saved + n * num_channels, count);
    work.rate[n] =
        load<V>(in.a_ND + n * num_channels + channel, count) * static_cast<S>(kLog2EExact);
  }
  // Ahead of the recurrences, as in the forward pass.
  const V bias = in.dt_bias_D != nullptr ? load<V>(in.dt_bias_D + channel, count) : V{};
  for (std::int64_t t = begin; t < end; ++t) {
    const V dt = load<V>(in.dt.data + t * in.dt.stride + channel, count);
    const auto [step, slope] = softplus(dt + bias);
    work.step[t - begin] = step;
    work.slope[t - begin] = slope;
  }
  if (in.z.data != nullptr) {
    for (std::int64_t t = begin; t < end; ++t) {
      work.gate[t - begin] = sigmoid(load<V>(in.z.data + t * in.z.stride + channel, count));
    }
  }
  recompute_block<V, kStates>(in, begin, end, channel, count, work);

  StateStore<V, kStates> state_grads(work.grad_h);
  V* const grad_h = state_grads.get();
  LOWBANK_FOR_EACH_STATE {
    grad_h[n] = load<V>(scan.grad_state_ND + n * num_channels + channel, count);
    work.grad_a[n] = V{};
  }
  const V skip = in.skip_D != nullptr ? load<V>(in.skip_D + channel, count) : V{};
  V grad_skip = {};
  V grad_bias = {};
  for (std::int64_t t = end - 1; t >= begin; --t) {
    const std::int64_t i = t - begin;
    const S* const b = in.b.data + t * in.b.stride;
    const S* const c = in.c.data + t * in.c.stride;
    const V* const before = work.h + i * num_states;
    const V* const after = before + num_states;
    const V* const decay = work.decay + i * num_states;
    V* const grad_b = work.grad_b + i * num_states;
    V* const grad_c = work.grad_c + i * num_states;
    const V u = load<V>(in.u.data + t * in.u.stride + channel, count);
    V grad_y = load<V>(scan.grad_y.data + t * scan.grad_y.stride + channel, count);
    if (in.z.data != nullptr) {
      const V z = load<V>(in.z.data + t * in.z.stride + channel, count);
      const V gate = work.gate[i];
      const V grad_z = grad_y * work.y[i] * gate * (1 + z * (1 - gate));
      store<V>(scan.grad_z.data + t * scan.grad_z.stride + channel, grad_z, count);
      grad_y *= z * gate;
    }
    const V step = work.step[i];
    const V input = step * u;
    V grad_input = {};
    V grad_rate = {};  // of step, through the decay
    LOWBANK_FOR_EACH_STATE {
      const V g = grad_h[n] + grad_y * c[n];
      grad_c[n] += grad_y * after[n];
      grad_b[n] += input * g;
      grad_input += g * b[n];
      const V passed = decay[n] * g;
      const V grad_product = passed * before[n];
      work.grad_a[n] += grad_product * step;
      grad_rate += grad_product * work.rate[n];
      grad_h[n] = passed;
    }
    const V grad_dt = (grad_rate * static_cast<S>(kLn2Exact) + grad_input * u) * work.slope[i];
    store<V>(scan.grad_u.data + t * scan.grad_u.stride + channel, grad_y * skip + grad_input * step,
             count);
    store<V>(scan.grad_dt.data + t * scan.grad_dt.stride + channel, grad_dt, count);
    grad_skip += grad_y * u;
    grad_bias += grad_dt;
  }
  const auto add = [count](S* to, V v) { store<V>(to, load<V>(to, count) + v, count); };
  LOWBANK_FOR_EACH_STATE {
    store<V>(scan.grad_state_ND + n * num_channels + channel, grad_h[n], count);
    add(scan.grad_a_ND + n * num_channels + channel, work.grad_a[n]);
  }
  if (scan.grad_skip_D != nullptr) add(scan.grad_skip_D + channel, grad_skip);
  if (scan.grad_dt_bias_D != nullptr) add(scan.grad_dt_bias_D + channel, grad_bias);
}

template <class V>
void backward_group(const ScanBackward<ScalarOf<V>>& scan, std::int64_t group, void* scratch) {
  const auto& in = scan.in;
  const std::int64_t num_states = in.num_states;
  const std::int64_t last = group_end(group, in.num_channels);
  const auto work = divide_scratch<V>(scratch, num_states);
  for (std::int64_t chunk = num_scan_chunks(in.num_tokens) - 1; chunk >= 0; --chunk) {
    const std::int64_t begin = chunk * kScanChunkTokens;
    const std::int64_t end =
        begin + kScanChunkTokens < in.num_tokens ? begin + kScanChunkTokens : in.num_tokens;
    const std::int64_t size = (end - begin) * num_states;
    for (std::int64_t i = 0; i < size; ++i) work.grad_b[i] = work.grad_c[i] = V{};
    for (std::int64_t channel = group * kScanGroupChannels; channel < last;
         channel += PackTraits<V>::kLanes) {
      const int count = lanes_left<V>(channel, last);
      if (num_states == 16) {
        backward_block<V, 16>(scan, begin, end, channel, count, work);
      } else {
        backward_block<V, 0>(scan, begin, end, channel, count, work);
      }
    }
    const std::int64_t at = (group * in.num_tokens + begin) * num_states;
    for (std::int64_t i = 0; i < size; ++i) {
      scan.grad_b_GTN[at + i] = sum_lanes(work.grad_b[i]);
      scan.grad_c_GTN[at + i] = sum_lanes(work.grad_c[i]);
    }
  }
}

#undef LOWBANK_FOR_EACH_STATE

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
