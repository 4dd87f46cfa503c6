#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "io/layer_record.h"
#include "nn/pass.h"

namespace lowbank {

/// A matrix product inside a linear layer, per token: [1, in] x [in, out].
struct LinearProduct {
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::int64_t count = 1;             ///< equal products side by side
  std::string_view factored_as = {};  ///< as in a workload: "" (dense), "svd" or "tile_svd"
  std::int64_t stage = 0;  ///< factored products: 0 for the first factor, 1 for the second
  std::int64_t rank = 0;   ///< factored products only
  std::int64_t tile = 0;   ///< "tile_svd" only
  std::string_view weight_format = {};  ///< as in a workload: "" is the model's own format
};

/// A weight [O, I] and a bias [O], which may be undefined.
struct DenseMatrix {
  torch::Tensor weight_OI, bias_O;
};

/// The two sides of a linear layer's matrix.
enum class Side { kIn, kOut };

/// One dimension of a layer's parameter.
struct ParameterDim {
  std::string name;  ///< the parameter's name in the layer: "weight"
  std::int64_t dim = 0;
};

/// A layer y = f(x) with x [..., I] and y [..., O], as a projection slot of any model holds it.
/// Dense layers, factors, adapters and masks are implementations; no model knows which one it runs.
///
/// A layer may wrap another one, as an adapter wraps the layer that it adapts. The wrapped layer is
/// its child module "base_layer"; this word never appears in a file (see stored_name).
class Linear : public torch::nn::Module {
 public:
  /// x [..., I] -> [..., O]. Errors: c10::Error if x.size(-1) != in_features.
  virtual torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t out_features() const = 0;
  /// The kind's name in lowbank.json: "dense", "svd", ...
  virtual std::string_view kind() const = 0;
  /// The record of this layer (not of those it wraps) in lowbank.json, from which a reader builds
  /// the layer again.
  virtual LayerRecord record() const { return {.kind = std::string(kind())}; }
  /// The matrix products of one forward pass, in order. `lowbank estimate` prices these.
  virtual std::vector<LinearProduct> products() const = 0;
  /// The matrix in memory if all that forward does is to multiply by it, else nullopt. Fused
  /// kernels use the matrix instead of calling forward.
  virtual std::optional<DenseMatrix> as_dense() const { return std::nullopt; }
  /// A matrix that does the same as this layer, computed if necessary; nullopt if there is none.
  virtual std::optional<DenseMatrix> to_dense() const { return as_dense(); }
  /// The dimensions of this layer's own parameters along which the features of one side lie.
  virtual std::vector<ParameterDim> along(Side side) const = 0;
  /// Keeps the features of one side that `index` (int64) lists, in that order, in this layer and in
  /// those that it wraps. A permutation reorders the features.
  virtual void select(Side side, const torch::Tensor& index);
  /// Whether this layer's own parameters are those of an adapter, which is trained and saved
  /// separately from its base.
  virtual bool is_adapter() const { return false; }

  /// The layer that this one wraps, or nullptr.
  const std::shared_ptr<Linear>& base() const { return base_; }

 protected:
  /// Wraps `base` instead of the layer that was wrapped before.
  void set_base(std::shared_ptr<Linear> base);

 private:
  friend class LinearSlot;
  std::shared_ptr<Linear> base_;
};

/// Number of elements of a layer's parameters, including those of the layers it wraps.
std::int64_t count_elements(const Linear& linear);

/// What a projection does in its model. This decides defaults: projections in blocks are
/// compressed, the head is not.
enum class LinearRole { kAttention, kMlp, kMixer, kHead, kPooler, kClassifier };

/// Receives the inputs of a slot, as calibration data for a layer that is to replace the present
/// one.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  virtual void on_input(const std::string& path, const torch::Tensor& x_I) = 0;
};

/// The place in a model that holds a Linear. The stack of layers is registered with the parent
/// module, so that parameters have Hugging Face's names ("...q_proj.weight"). A LinearSlot is a
/// handle: its copies refer to the same place.
class LinearSlot {
 public:
  LinearSlot() = default;
  /// Registers `linear` with `parent`, which must outlive the slot, under the last word of `path`.
  LinearSlot(torch::nn::Module& parent, std::string path, LinearRole role,
             std::shared_ptr<Linear> linear);

  bool is_empty() const { return place_ == nullptr; }
  /// Module path in the model, "model.layers.0.self_attn.q_proj".
  const std::string& path() const { return place_->path; }
  LinearRole role() const { return place_->role; }

  /// Runs the stack: x [..., I] -> [..., O]. The layers draw random numbers from the pass's key,
  /// derived by this slot's path.
  torch::Tensor operator()(const torch::Tensor& x_I, const Pass& pass) const;

  /// The outermost layer.
  Linear& get() const { return *place_->linear; }
  const std::shared_ptr<Linear>& pointer() const { return place_->linear; }
  /// Every layer, outermost first.
  std::vector<Linear*> layers() const;
  /// The records of the layers, innermost first.
  SlotRecord record() const;

  /// Puts `linear` into the slot instead of the present stack. Errors: c10::Error if the features
  /// differ.
  void replace(std::shared_ptr<Linear> linear);
  /// Replaces one layer of the stack; the layer that wrapped `layer` then wraps `by`.
  /// Errors: c10::Error if `layer` is not in this slot, or the features differ.
  void replace(const Linear& layer, std::shared_ptr<Linear> by);
  /// Wraps the stack in the layer that `make` returns, whose base must be the argument of `make`.
  /// Errors: c10::Error if that layer has another base or other features.
  void wrap(const std::function<std::shared_ptr<Linear>(std::shared_ptr<Linear> base)>& make);
  /// Takes the outermost wrapper of this kind out of the stack and returns it. Errors: c10::Error
  /// if there is none.
  std::shared_ptr<Linear> unwrap(std::string_view kind);

  /// From now on `observer` receives every input; nullptr stops that.
  void observe(InputObserver* observer) { place_->observer = observer; }

 private:
  struct Place {
    torch::nn::Module* parent = nullptr;
    std::string path;
    std::string name;  // under which the parent has registered the stack
    LinearRole role = LinearRole::kAttention;
    std::shared_ptr<Linear> linear;
    InputObserver* observer = nullptr;
  };
  friend std::vector<torch::Tensor> forward_group(const torch::Tensor&, const Pass&,
                                                  std::initializer_list<const LinearSlot*>);
  void check_features(const Linear& linear) const;
  void put(std::shared_ptr<Linear> linear);

  std::shared_ptr<Place> place_;
};

/// The outputs of several slots for the same x [..., I], one [..., O] for each slot. If x has few
/// rows, the products of dense layers run as one.
std::vector<torch::Tensor> forward_group(const torch::Tensor& x_I, const Pass& pass,
                                         std::initializer_list<const LinearSlot*> slots);

/// The outermost layer of type T in the slot's stack, or nullptr.
template <class T>
T* find_layer(const LinearSlot& slot) {
  for (Linear* layer = slot.pointer().get(); layer != nullptr; layer = layer->base().get()) {
    if (auto* const found = dynamic_cast<T*>(layer)) return found;
  }
  return nullptr;
}

/// A parameter's name in a file: `name` without the word ".base_layer", which wrapped layers add.
std::string stored_name(const std::string& name);

}  // namespace lowbank
