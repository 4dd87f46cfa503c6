#include "models/layers.h"

#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "kernels/decode_attention.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "models/operator_list.h"

namespace lowbank {

RmsNorm::RmsNorm(Weights& weights, const std::string& path, double eps) : eps_(eps) {
  weight = register_parameter("weight", weights.take(path + ".weight"));
}

torch::Tensor RmsNorm::forward(const torch::Tensor& x_D) const {
  return rms_norm(x_D, weight, eps_);
}

Embedding::Embedding(Weights& weights, const std::string& path) {
  weight = register_parameter("weight", weights.take(path + ".weight"));
}

torch::Tensor Embedding::forward(const torch::Tensor& ids_BT) const {
  return at::embedding(weight, ids_BT);
}

LayerNorm::LayerNorm(Weights& weights, const std::string& path, double eps) : eps_(eps) {
  weight = register_parameter("weight", weights.take(path + ".weight"));
  bias = register_parameter("bias", weights.take(path + ".bias"));
}

torch::Tensor LayerNorm::forward(const torch::Tensor& x_D) const {
  return at::layer_norm(x_D, weight.sizes(), weight, bias, eps_);
}

Activation activation(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kGelu:
      return [](const torch::Tensor& x) { return at::gelu(x); };
    case ActivationKind::kGeluTanh:
      return [](const torch::Tensor& x) { return at::gelu(x, "tanh"); };
    case ActivationKind::kRelu:
      return [](const torch::Tensor& x) { return at::relu(x); };
    case ActivationKind::kSilu:
      return [](const torch::Tensor& x) { return at::silu(x); };
    case ActivationKind::kTanh:
      return [](const torch::Tensor& x) { return at::tanh(x); };
  }
  TORCH_INTERNAL_ASSERT(false, "activation: an unknown kind");
}

TokenHead::TokenHead(torch::nn::Module& model, Weights& weights,
                     std::shared_ptr<Embedding> embedding, bool is_tied)
    : embedding_(std::move(embedding)), is_tied_(is_tied) {
  if (is_tied) {
    weights.tie("lm_head.weight");
  } else {
    projection_ = weights.slot(model, "lm_head", LinearRole::kHead);
  }
}

torch::Tensor TokenHead::forward(const torch::Tensor& hidden_D, const Pass& pass) const {
  return is_tied_ ? apply_linear(hidden_D, embedding_->weight) : projection_(hidden_D, pass);
}

torch::Tensor TokenHead::weight() const {
  if (is_tied_) return embedding_->weight;
  const auto dense = projection_.get().as_dense();
  return dense.has_value() && !dense->bias_O.defined() ? dense->weight_OI : torch::Tensor();
}

void TokenHead::add_operators(OperatorList& list) const {
  if (is_tied_) {
    list.add_product("lm_head", embedding_->weight.size(1), embedding_->weight.size(0));
  } else {
    list.add_linear(projection_);
  }
}

void TokenHead::add_hidden(Axis& axis) const {
  if (!is_tied_) axis.add(projection_, Side::kIn);
}

RotaryEmbedding::RotaryEmbedding(const RotaryOptions& options, std::int64_t head_dim)
    : options_(options), head_dim_(head_dim) {}

// [E / 2], float32 on the CPU.
torch::Tensor RotaryEmbedding::inverse_frequencies(std::int64_t sequence_length) const {
  const auto dim = static_cast<double>(head_dim_);
  const auto original = static_cast<double>(options_.original_max_positions);
  double theta = options_.theta;
  if (options_.kind == RotaryKind::kDynamic && sequence_length > options_.original_max_positions) {
    const double stretch = options_.factor * static_cast<double>(sequence_length) / original;
    theta *= std::pow(stretch - (options_.factor - 1.0), dim / (dim - 2.0));
  }
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < head_dim_; i += 2) {
    double frequency = 1.0 / std::pow(theta, static_cast<double>(i) / dim);
    if (options_.kind == RotaryKind::kLinear) frequency /= options_.factor;
    if (options_.kind == RotaryKind::kLlama3) {
      const double wavelength = 2.0 * M_PI / frequency;
      if (wavelength > original / options_.low_freq_factor) {
        frequency /= options_.factor;
      } else if (wavelength >= original / options_.high_freq_factor) {
        const double smooth = (original / wavelength - options_.low_freq_factor) /
                              (options_.high_freq_factor - options_.low_freq_factor);
        frequency = (1.0 - smooth) * frequency / options_.factor + smooth * frequency;
      }
    }
    frequencies.push_back(static_cast<float>(frequency));
  }
  return at::tensor(frequencies, at::TensorOptions(c10::kFloat));
}

RotaryTables RotaryEmbedding::tables(std::int64_t begin, std::int64_t length,
                                     const torch::TensorOptions& options) {
  const std::int64_t needed = begin + length;
  const bool is_stretched = depends_on_length() && needed > options_.original_max_positions;
  const std::int64_t stretched = is_stretched ? needed : 0;
  if (!cache_.cos_T1E.defined() || cache_.cos_T1E.size(0) < needed ||
      cache_stretched_ != stretched || cache_.cos_T1E.device() != options.device() ||
      cache_.cos_T1E.dtype() != options.dtype()) {
    // A table made while evaluating must still serve training, which saves it for its backward.
    const c10::InferenceMode normal_tensors(false);
    const auto size = is_stretched
                          ? needed
                          : static_cast<std::int64_t>(std::bit_ceil(
                                static_cast<std::uint64_t>(std::max<std::int64_t>(needed, 64))));
    const auto frequency_E = inverse_frequencies(needed);
    const auto angle_TE = at::outer(at::arange(size, frequency_E.options()), frequency_E);
    const auto cos_TE = angle_TE.cos(), sin_TE = angle_TE.sin();
    const auto finish = [&](const torch::Tensor& first, const torch::Tensor& second) {
      return at::cat({first, second}, -1).unsqueeze(1).to(options);
    };
    cache_ = {.cos_T1E = finish(cos_TE, cos_TE), .sin_T1E = finish(-sin_TE, sin_TE)};
    cache_stretched_ = stretched;
  }
  return {.cos_T1E = cache_.cos_T1E.narrow(0, begin, length),
          .sin_T1E = cache_.sin_T1E.narrow(0, begin, length)};
}

torch::Tensor causal_attention(const torch::Tensor& q_BHTE, const torch::Tensor& k_BKSE,
                               const torch::Tensor& v_BKSE, const torch::Tensor& mask_BS) {
  const std::int64_t num_queries = q_BHTE.size(2);
  const std::int64_t num_keys = k_BKSE.size(2);
  const std::int64_t num_past = num_keys - num_queries;
  const std::int64_t group = q_BHTE.size(1) / k_BKSE.size(1);
  if (num_queries == 1 && !c10::GradMode::is_enabled()) {
    return decode_attention(q_BHTE.squeeze(2), k_BKSE, v_BKSE, mask_BS).unsqueeze(2);
  }
  if (!mask_BS.defined() && (num_queries == 1 || num_past == 0)) {
    // The causal flag aligns queries with the first keys: right only where both begin together.
    return at::scaled_dot_product_attention(q_BHTE, k_BKSE, v_BKSE, /*attn_mask=*/{},
                                            /*dropout_p=*/0.0, /*is_causal=*/num_queries > 1,
                                            /*scale=*/std::nullopt, /*enable_gqa=*/group > 1);
  }
  const auto options = q_BHTE.options().dtype(c10::kBool);
  auto visible = at::ones({num_queries, num_keys}, options).tril(num_past);
  if (mask_BS.defined()) {
    // A row that sees nothing would be NaN: padding sees itself.
    const auto self_TS = visible.logical_xor(visible.tril(num_past - 1));
    visible = (visible & mask_BS.unsqueeze(1)).logical_or(self_TS).unsqueeze(1);
  }
  // With a mask, grouped heads may fall back to the unfused kernel; repeated keys do not.
  return at::scaled_dot_product_attention(q_BHTE, k_BKSE.repeat_interleave(group, 1),
                                          v_BKSE.repeat_interleave(group, 1), visible);
}

}  // namespace lowbank
