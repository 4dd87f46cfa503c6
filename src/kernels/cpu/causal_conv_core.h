#pragma once

#include <cstdint>

#include "kernels/cpu/selective_scan_core.h"

// The depthwise causal convolution of one sequence on raw pointers, without LibTorch. It uses the
// same groups of channels as the selective scan.
namespace lowbank {

/// What both directions read. T is float or double.
template <class T>
struct ConvOperands {
  std::int64_t num_tokens = 0;
  std::int64_t num_channels = 0;
  std::int64_t width = 0;
  TokenRows<const T> x;          ///< [T, D]
  TokenRows<const T> before;     ///< [width - 1, D]: the inputs before the first token
  const T* weight_WD = nullptr;  ///< the last row meets the newest token
  const T* bias_D = nullptr;     ///< or nullptr
  bool silu = true;              ///< y = silu(conv + bias), else y = conv + bias
};

template <class T>
struct ConvForward {
  ConvOperands<T> in;
  TokenRows<T> y;  ///< out: [T, D]
};

/// Gradients that are sums over tokens are added to the values that are already there.
template <class T>
struct ConvBackward {
  ConvOperands<T> in;
  TokenRows<const T> grad_y;    ///< [T, D]
  TokenRows<T> grad_x;          ///< out: [T, D]
  TokenRows<T> grad_before;     ///< out: [width - 1, D]
  T* grad_weight_WD = nullptr;  ///< added to
  T* grad_bias_D = nullptr;     ///< added to; or nullptr
};

/// Channels [128 group, 128 (group + 1)) of one sequence; groups may run at the same time. The bits
/// depend on cpu_isa() and on nothing else.
void causal_conv_forward(const ConvForward<float>& conv, std::int64_t group);
void causal_conv_forward(const ConvForward<double>& conv, std::int64_t group);
void causal_conv_backward(const ConvBackward<float>& conv, std::int64_t group);
void causal_conv_backward(const ConvBackward<double>& conv, std::int64_t group);

}  // namespace lowbank
