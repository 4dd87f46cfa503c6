// The causal convolution over one group of channels, for every instruction set (see pack.h).
#pragma once

#include "kernels/cpu/causal_conv_core.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/selective_scan_kernel.h"

namespace lowbank::LOWBANK_ISA {
namespace {

// The input row `back` tokens before token t. Rows before the first token come from the state.
template <class S>
const S* input_row(const ConvOperands<S>& in, std::int64_t t, std::int64_t back) {
  const std::int64_t at = t - back;
  return at >= 0 ? in.x.data + at * in.x.stride
                 : in.before.data + (at + in.width - 1) * in.before.stride;
}

template <class V>
V convolve(const ConvOperands<ScalarOf<V>>& in, std::int64_t t, std::int64_t channel, int count) {
  V sum = in.bias_D != nullptr ? load<V>(in.bias_D + channel, count) : V{};
  for (std::int64_t w = 0; w < in.width; ++w) {
    sum += load<V>(in.weight_WD + w * in.num_channels + channel, count) *
           load<V>(input_row(in, t, in.width - 1 - w) + channel, count);
  }
  return sum;
}

template <class V>
void conv_forward_group(const ConvForward<ScalarOf<V>>& conv, std::int64_t group) {
  const auto& in = conv.in;
  const std::int64_t last = group_end(group, in.num_channels);
  for (std::int64_t t = 0; t < in.num_tokens; ++t) {
    for (std::int64_t channel = group * kScanGroupChannels; channel < last;
         channel += PackTraits<V>::kLanes) {
      const int count = lanes_left<V>(channel, last);
      V y = convolve<V>(in, t, channel, count);
      if (in.silu) y *= sigmoid(y);
      store<V>(conv.y.data + t * conv.y.stride + channel, y, count);
    }
  }
}

// The gradient of input row r is complete once token r + width - 1 is done: the gradients of the
// last `width` sums are kept, row t in slot t mod width of `sums` [width, channels of a group].
template <class V>
void conv_backward_group(const ConvBackward<ScalarOf<V>>& conv, std::int64_t group,
                         ScalarOf<V>* sums) {
  const auto& in = conv.in;
  const std::int64_t first = group * kScanGroupChannels;
  const std::int64_t last = group_end(group, in.num_channels);
  const std::int64_t width = in.width;
  const auto add = [](ScalarOf<V>* to, V v, int count) {
    store<V>(to, load<V>(to, count) + v, count);
  };
  for (std::int64_t t = 0; t < in.num_tokens + width - 1; ++t) {
    const std::int64_t row = t - (width - 1);
    const std::int64_t slot = t % width;
    for (std::int64_t channel = first; channel < last; channel += PackTraits<V>::kLanes) {
      const int count = lanes_left<V>(channel, last);
      const std::int64_t column = channel - first;
      if (t < in.num_tokens) {
        V g = load<V>(conv.grad_y.data + t * conv.grad_y.stride + channel, count);
        if (in.silu) {
          const V x = convolve<V>(in, t, channel, count);
          const V s = sigmoid(x);
          g *= s * (1 + x * (1 - s));
        }
        store<V>(sums + slot * kScanGroupChannels + column, g, count);
        if (conv.grad_bias_D != nullptr) add(conv.grad_bias_D + channel, g, count);
        for (std::int64_t w = 0; w < width; ++w) {
          add(conv.grad_weight_WD + w * in.num_channels + channel,
              g * load<V>(input_row(in, t, width - 1 - w) + channel, count), count);
        }
      }
      V grad = {};
      for (std::int64_t w = 0; w < width; ++w) {  // weight row w met this input at token `at`
        const std::int64_t at = t - w;
        if (at < 0 || at >= in.num_tokens) continue;
        const std::int64_t at_slot = slot >= w ? slot - w : slot - w + width;
        grad += load<V>(in.weight_WD + w * in.num_channels + channel, count) *
                load<V>(sums + at_slot * kScanGroupChannels + column, count);
      }
      store<V>(row >= 0 ? conv.grad_x.data + row * conv.grad_x.stride + channel
                        : conv.grad_before.data + t * conv.grad_before.stride + channel,
               grad, count);
    }
  }
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
