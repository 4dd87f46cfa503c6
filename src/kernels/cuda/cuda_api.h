#pragma once

#include <cstdint>

// What liblowbank_cuda.so exports. Plain C and raw pointers: the library needs no LibTorch header
// to compile, and the program needs no CUDA to link (kernels/cuda_library.h opens it at run time).
extern "C" {

/// out[i] (device memory) = element first_index + i of the normal stream (key, stream), as
/// fill_normal of core/philox.h; equal to the CPU's up to the last bits of log, sin and cos.
/// Returns a cudaError_t.
int lowbank_cuda_normal_fill(float* out, std::int64_t count, std::uint64_t key,
                             std::uint64_t stream, std::uint64_t first_index);

/// A [B, T, X] array in device memory: element (b, t, x) is data[b batch_stride + t token_stride +
/// x]. `data` is nullptr for an operand that is left out.
struct LowbankCudaRows {
  const float* data;
  std::int64_t batch_stride;
  std::int64_t token_stride;
};

/// Operands of the selective scan (kernels/selective_scan.h), in device memory. Outputs, and arrays
/// whose name ends in a shape, are contiguous.
struct LowbankCudaScan {
  std::int64_t batch, tokens, channels, states;
  LowbankCudaRows u, dt, z, b, c;
  const float* a_ND;
  const float* skip_D;     ///< or nullptr
  const float* dt_bias_D;  ///< or nullptr
};

enum : std::int64_t {
  kLowbankCudaScanTile = 16,       ///< tokens between the states that the backward pass needs
  kLowbankCudaScanChannels = 32,   ///< channels that share one part of the gradients of B and C
  kLowbankCudaScanMaxStates = 32,  ///< cudaErrorInvalidValue beyond
  kLowbankCudaConvTile = 64,       ///< tokens that share one part of the gradient of the weight
  kLowbankCudaConvMaxWidth = 8     ///< cudaErrorInvalidValue beyond
};

/// state_BND holds the initial state and is overwritten with the final one. tile_states [B, ceil(T
/// / tile), N, D] gets the state before each tile of tokens; it may be nullptr. Returns a
/// cudaError_t.
int lowbank_cuda_scan_forward(const LowbankCudaScan* scan, float* y_BTD, float* state_BND,
                              float* tile_states);

/// Gradients that are sums over channels or sequences are returned in parts, which the caller adds
/// up: G = ceil(D / 32).
struct LowbankCudaScanGrads {
  float* u_BTD;
  float* dt_BTD;
  float* z_BTD;  ///< nullptr without a gate
  float* b_BGTN;
  float* c_BGTN;
  float* a_BND;
  float* skip_BD;
  float* dt_bias_BD;
  float* state_BND;  ///< in: of the final state; out: of the initial state
};

/// Returns a cudaError_t.
int lowbank_cuda_scan_backward(const LowbankCudaScan* scan, const float* tile_states,
                               const LowbankCudaRows* grad_y, const LowbankCudaScanGrads* grads);

/// Operands of the causal convolution (kernels/causal_conv.h).
struct LowbankCudaConv {
  std::int64_t batch, tokens, channels, width;
  LowbankCudaRows x;
  LowbankCudaRows before;  ///< [B, W - 1, D]
  const float* weight_WD;
  const float* bias_D;  ///< or nullptr
  int silu;
};

/// Returns a cudaError_t.
int lowbank_cuda_conv_forward(const LowbankCudaConv* conv, float* y_BTD);

/// sum_BTD is room for the gradient of the sums; weight_BCWD and bias_BCD are parts of C = ceil(T /
/// 64) runs of tokens, to be added up. Returns a cudaError_t.
int lowbank_cuda_conv_backward(const LowbankCudaConv* conv, const LowbankCudaRows* grad_y,
                               float* sum_BTD, float* x_BTD, float* before_BWD, float* weight_BCWD,
                               float* bias_BCD);

/// Text of a returned error.
const char* lowbank_cuda_error_text(int error);
}
