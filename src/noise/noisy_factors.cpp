#include "noise/noisy_factors.h"

#include <cmath>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include "noise/code_noise.h"

namespace lowbank {

NoisyFactors::NoisyFactors(std::span<LinearSlot> slots, const NoiseOptions& noise)
    : noise_(noise), coding_(noise.encoding, noise.weight_bits, noise.cell_bits) {
  const at::NoGradGuard guard;
  for (auto& slot : slots) {
    auto* const svd = find_factors(slot, "noise");
    if (svd == nullptr) continue;
    Layer layer{.slot = slot,
                .former = std::static_pointer_cast<Linear>(svd->shared_from_this()),
                .noisy = nullptr,
                .u = make_factor(svd->u),
                .vh = make_factor(svd->s.unsqueeze(1) * svd->vh)};
    // The layer gets tensors of its own, because protect() writes into them.
    layer.noisy = std::make_shared<SvdLinear>(layer.u.clean.clone(), at::ones_like(svd->s),
                                              layer.vh.clean.clone(), svd->bias);
    layers_.push_back(std::move(layer));
  }
  for (auto& layer : layers_) layer.slot.replace(*layer.former, layer.noisy);
}

NoisyFactors::~NoisyFactors() {
  for (auto& layer : layers_) layer.slot.replace(*layer.noisy, layer.former);
}

std::int64_t NoisyFactors::num_weights(std::size_t layer) const {
  return layers_[layer].u.codes.numel() + layers_[layer].vh.codes.numel();
}

double NoisyFactors::signal_to_noise_db() const {
  const auto variance = code_noise_variance(coding_, noise_);
  double signal = 0;
  double noise = 0;
  for (const auto& layer : layers_) {
    for (const auto* factor : {&layer.u, &layer.vh}) {
      const auto counts = at::bincount(factor->codes.flatten().to(at::kLong) + kCodeOffset,
                                       /*weights=*/{}, /*minlength=*/256);
      const auto* const count = counts.const_data_ptr<std::int64_t>();
      for (int i = 0; i < 256; ++i) {
        const double code = i - kCodeOffset;
        signal += static_cast<double>(count[i]) * code * code;
        noise += static_cast<double>(count[i]) * variance[static_cast<std::size_t>(i)];
      }
    }
  }
  return 10 * std::log10(signal / noise);
}

NoisyFactors::Factor NoisyFactors::make_factor(const torch::Tensor& weight) const {
  auto [codes, scale] = quantise_factor(weight, noise_.weight_bits);
  const auto clean = (codes.to(at::kFloat) * scale).to(weight.options());
  return {.codes = codes, .scale = scale, .clean = clean, .noisy = clean};
}

void NoisyFactors::draw_factor(Factor& factor, const RandomKey& key) const {
  const auto noise = draw_code_noise(factor.codes, coding_, noise_, key);
  factor.noisy = factor.clean + (noise * factor.scale).to(factor.clean.options());
}

void NoisyFactors::draw(const RandomKey& key) {
  const at::NoGradGuard guard;
  for (auto& layer : layers_) {
    const auto layer_key = key.derive(layer.slot.path());
    draw_factor(layer.u, layer_key.derive("u"));
    draw_factor(layer.vh, layer_key.derive("vh"));
  }
}

void NoisyFactors::protect(const std::vector<torch::Tensor>& protected_R) {
  TORCH_CHECK(protected_R.size() == layers_.size(), "NoisyFactors::protect: ", layers_.size(),
              " masks expected, got ", protected_R.size());
  const at::NoGradGuard guard;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& layer = layers_[i];
    const auto mask_R = protected_R[i].to(layer.noisy->u.device());
    TORCH_CHECK(mask_R.sizes() == layer.noisy->s.sizes(), "NoisyFactors::protect: mask of ",
                layer.slot.path(), " must be ", layer.noisy->s.sizes(), ", got ", mask_R.sizes());
    at::where_out(layer.noisy->u, mask_R, layer.u.clean, layer.u.noisy);
    at::where_out(layer.noisy->vh, mask_R.unsqueeze(1), layer.vh.clean, layer.vh.noisy);
  }
}

}  // namespace lowbank
