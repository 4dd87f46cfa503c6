#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

#include "core/philox.h"
#include "nn/linear.h"
#include "nn/svd_linear.h"
#include "noise/cell_coding.h"
#include "noise/noise_options.h"

namespace lowbank {

/// A model whose factored layers are stored in noisy memory cells. While this object lives, the
/// slots hold other layers in place of the factored ones, made of the int8 codes of u and diag(s)
/// vh plus noise (s becomes 1); layers that wrap the factors stay. The destructor puts the former
/// layers back. The slots must outlive this object.
///
/// Source:  HyFlexPIM (Song et al., ISCA 2025), hybrid SLC-MLC cells; its simulator.
/// Differs: every factored layer gets noise; the protected axis is the rank axis by construction
///          (column r of u, row r of diag(s) vh); a cell's draw does not depend on what is
///          protected, so that curves share their noise and differ by the selection alone.
class NoisyFactors {
 public:
  /// Quantises the factors. Until draw() and protect() are called, the layers hold the codes
  /// without noise. Errors: ConfigError for a kind of layer that cannot be put into cells.
  NoisyFactors(std::span<LinearSlot> slots, const NoiseOptions& noise);
  ~NoisyFactors();
  NoisyFactors(const NoisyFactors&) = delete;
  NoisyFactors& operator=(const NoisyFactors&) = delete;

  std::size_t num_layers() const { return layers_.size(); }
  const std::string& path(std::size_t layer) const { return layers_[layer].slot.path(); }
  std::int64_t rank(std::size_t layer) const { return layers_[layer].noisy->rank(); }
  /// Number of weights in cells: the elements of u and vh.
  std::int64_t num_weights(std::size_t layer) const;
  const CellCoding& coding() const { return coding_; }
  /// Power of the codes / expected power of their noise, in dB, over all layers with no rank
  /// protected.
  double signal_to_noise_db() const;

  /// Draws the noise of every cell; `key` names the trial.
  void draw(const RandomKey& key);
  /// Puts the last draw into the layers. Ranks that are true in protected_R[layer] (bool [R]) get
  /// the codes without noise.
  void protect(const std::vector<torch::Tensor>& protected_R);

 private:
  struct Factor {
    torch::Tensor codes;  // int8, on the CPU
    float scale = 1;
    torch::Tensor clean;  // scale * code, on the model's device
    torch::Tensor noisy;  // scale * (code + noise)
  };
  struct Layer {
    LinearSlot slot;
    std::shared_ptr<Linear> former;
    std::shared_ptr<SvdLinear> noisy;
    Factor u, vh;
  };
  Factor make_factor(const torch::Tensor& weight) const;
  void draw_factor(Factor& factor, const RandomKey& key) const;

  NoiseOptions noise_;
  CellCoding coding_;
  std::vector<Layer> layers_;
};

}  // namespace lowbank
