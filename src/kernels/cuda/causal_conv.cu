#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/cuda/cuda_api.h"
#include "kernels/cuda/launch.h"

// Neighbouring threads compute neighbouring channels; inputs that several tokens read come from the
// cache.
namespace {

constexpr int kThreads = 256;
constexpr int kMaxWidth = kLowbankCudaConvMaxWidth;
constexpr std::int64_t kTile = kLowbankCudaConvTile;

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The input `back` tokens before token t. Inputs before the first token come from the state.
__device__ float input_at(const LowbankCudaConv& in, std::int64_t sequence, std::int64_t t,
                          std::int64_t back, std::int64_t channel) {
  const std::int64_t at = t - back;
  if (at >= 0) {
    return in.x.data[sequence * in.x.batch_stride + at * in.x.token_stride + channel];
  }
  return in.before.data[sequence * in.before.batch_stride +
                        (at + in.width - 1) * in.before.token_stride + channel];
}

__device__ float convolve(const LowbankCudaConv& in, std::int64_t sequence, std::int64_t t,
                          std::int64_t channel) {
  float sum = in.bias_D != nullptr ? in.bias_D[channel] : 0.0f;
  for (std::int64_t w = 0; w < in.width; ++w) {
    sum += in.weight_WD[w * in.channels + channel] *
           input_at(in, sequence, t, in.width - 1 - w, channel);
  }
  return sum;
}

__global__ void conv_forward_kernel(LowbankCudaConv in, float* y_BTD) {
  const std::int64_t count = in.batch * in.tokens * in.channels;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const std::int64_t row = i / in.channels;
    const float sum = convolve(in, row / in.tokens, row % in.tokens, i % in.channels);
    y_BTD[i] = in.silu != 0 ? sum * sigmoid(sum) : sum;
  }
}

// A thread has one channel and one tile of tokens. It computes the gradient of their sums, and the
// tile's part of the gradients of weight and bias.
__global__ void conv_sum_gradient_kernel(LowbankCudaConv in, LowbankCudaRows grad_y, float* sum_BTD,
                                         float* weight_BCWD, float* bias_BCD) {
  const std::int64_t num_tiles = (in.tokens + kTile - 1) / kTile;
  const std::int64_t count = in.batch * num_tiles * in.channels;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const std::int64_t channel = i % in.channels;
    const std::int64_t part = i / in.channels;
    const std::int64_t sequence = part / num_tiles;
    const std::int64_t begin = part % num_tiles * kTile;
    const std::int64_t end = begin + kTile < in.tokens ? begin + kTile : in.tokens;
    float grad_weight[kMaxWidth] = {};
    float grad_bias = 0.0f;
    for (std::int64_t t = begin; t < end; ++t) {
      float g = grad_y.data[sequence * grad_y.batch_stride + t * grad_y.token_stride + channel];
      if (in.silu != 0) {
        const float sum = convolve(in, sequence, t, channel);
        const float s = sigmoid(sum);
        g *= s * (1.0f + sum * (1.0f - s));
      }
      sum_BTD[(sequence * in.tokens + t) * in.channels + channel] = g;
      grad_bias += g;
#pragma unroll
      for (int w = 0; w < kMaxWidth; ++w) {
        if (w < in.width) {
          grad_weight[w] += g * input_at(in, sequence, t, in.width - 1 - w, channel);
        }
      }
    }
    if (bias_BCD != nullptr) bias_BCD[part * in.channels + channel] = grad_bias;
#pragma unroll
    for (int w = 0; w < kMaxWidth; ++w) {
      if (w < in.width) {
        weight_BCWD[(part * in.width + w) * in.channels + channel] = grad_weight[w];
      }
    }
  }
}

// Computes rows -(W - 1) to T - 1; rows before the first token are gradients of the state.
__global__ void conv_input_gradient_kernel(LowbankCudaConv in, const float* sum_BTD, float* x_BTD,
                                           float* before_BWD) {
  const std::int64_t num_rows = in.tokens + in.width - 1;
  const std::int64_t count = in.batch * num_rows * in.channels;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const std::int64_t channel = i % in.channels;
    const std::int64_t sequence = i / in.channels / num_rows;
    const std::int64_t row = i / in.channels % num_rows - (in.width - 1);
    float grad = 0.0f;
    for (std::int64_t w = 0; w < in.width; ++w) {  // weight row w met this input at token t
      const std::int64_t t = row + in.width - 1 - w;
      if (t >= 0 && t < in.tokens) {
        grad += in.weight_WD[w * in.channels + channel] *
                sum_BTD[(sequence * in.tokens + t) * in.channels + channel];
      }
    }
    if (row >= 0) {
      x_BTD[(sequence * in.tokens + row) * in.channels + channel] = grad;
    } else {
      const std::int64_t slot = row + in.width - 1;
      before_BWD[(sequence * (in.width - 1) + slot) * in.channels + channel] = grad;
    }
  }
}

}  // namespace

extern "C" int lowbank_cuda_conv_forward(const LowbankCudaConv* conv, float* y_BTD) {
  const std::int64_t count = conv->batch * conv->tokens * conv->channels;
  if (count == 0) return cudaSuccess;
  return lowbank::launch(conv_forward_kernel, lowbank::blocks_for(count, kThreads), kThreads, 0,
                         *conv, y_BTD);
}

extern "C" int lowbank_cuda_conv_backward(const LowbankCudaConv* conv,
                                          const LowbankCudaRows* grad_y, float* sum_BTD,
                                          float* x_BTD, float* before_BWD, float* weight_BCWD,
                                          float* bias_BCD) {
  if (conv->width > kMaxWidth) return cudaErrorInvalidValue;
  const std::int64_t num_tiles = (conv->tokens + kTile - 1) / kTile;
  const std::int64_t num_sums = conv->batch * num_tiles * conv->channels;
  if (num_sums > 0) {
    const cudaError_t error =
        lowbank::launch(conv_sum_gradient_kernel, lowbank::blocks_for(num_sums, kThreads), kThreads,
                        0, *conv, *grad_y, sum_BTD, weight_BCWD, bias_BCD);
    if (error != cudaSuccess) return error;
  }
  const std::int64_t num_inputs = conv->batch * (conv->tokens + conv->width - 1) * conv->channels;
  if (num_inputs == 0) return cudaSuccess;
  return lowbank::launch(conv_input_gradient_kernel, lowbank::blocks_for(num_inputs, kThreads),
                         kThreads, 0, *conv, sum_BTD, x_BTD, before_BWD);
}
