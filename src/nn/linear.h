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
  std::string_view factored_as = {};  ///< as in a workload: "" dense, "svd", "tile_svd"
  std::int64_t stage = 0;  ///< of a factored product: 0 is the first factor, 1 the second
  std::int64_t rank = 0;   ///< of a factored product
  std::int64_t tile = 0;   ///< only of "tile_svd"
  std::string_view weight_format = {};  ///< as in a workload: "" is the model's
};

/// A weight [O, I] and a bias [O] or undefined.
struct DenseMatrix {
  torch::Tensor weight_OI, bias_O;
};

/// The two sides of a linear layer's matrix.
enum class Side { kIn, kOut };

/// One dimension of a layer's parameter.
struct ParameterDim {
  std::string name;  ///< the layer's own: "weight"
  std::int64_t dim = 0;
};

/// y = f(x) for x [..., I] -> y [..., O]: what a projection slot of any model holds. Dense layers,
/// factors, adapters and masks are implementations; no model knows which one it runs.
///
/// A layer may wrap another one (an adapter wraps what it adapts): the wrapped layer is its child
/// module "base_layer", a word that never reaches a file (see stored_name).
class Linear : public torch::nn::Module {
 public:
  /// x [..., I] -> [..., O]. Errors: c10::Error if x.size(-1) != in_features.
  virtual torch::Tensor forward(const torch::Tensor& x_I, const Pass& pass) = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t out_features() const = 0;
  /// "dense", "svd", ...: as in lowbank.json.
  virtual std::string_view kind() const = 0;
  /// What lowbank.json says of this layer (not of those it wraps), and what it is built from again.
  virtual LayerRecord record() const { return {.kind = std::string(kind())}; }
  /// The matrix products of one forward pass, in order: what is priced.
  virtual std::vector<LinearProduct> products() const = 0;
  /// The matrix in memory that forward multiplies with, where it does nothing else: fused paths run
  /// on it in this layer's place.
  virtual std::optional<DenseMatrix> as_dense() const { return std::nullopt; }
  /// The matrix that does what this layer does, computed if need be; nullopt where there is none.
  virtual std::optional<DenseMatrix> to_dense() const { return as_dense(); }
  /// Where the features of one side lie in this layer's own parameters.
  virtual std::vector<ParameterDim> along(Side side) const = 0;
  /// Keeps the features of one side that `index` names, in its order (a permutation moves them),
  /// here and in what this layer wraps.
  virtual void select(Side side, const torch::Tensor& index);
  /// Whether this layer's own parameters are an adapter's, trained and saved apart from the base.
  virtual bool is_adapter() const { return false; }

  /// The layer that this one wraps, or nullptr.
  const std::shared_ptr<Linear>& base() const { return base_; }

 protected:
  /// Wraps `base`, in place of what was wrapped before.
  void set_base(std::shared_ptr<Linear> base);

 private:
  friend class LinearSlot;
  std::shared_ptr<Linear> base_;
};

/// Number of elements of a layer's parameters, those it wraps included.
std::int64_t count_elements(const Linear& linear);

/// What a projection does in its model; decides defaults (blocks are compressed, the head is not).
enum class LinearRole { kAttention, kMlp, kMixer, kHead, kPooler, kClassifier };

/// Sees what goes into a slot: calibration data for whatever replaces the layer.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  virtual void on_input(const std::string& path, const torch::Tensor& x_I) = 0;
};

/// Where a model holds a Linear: the stack of layers is registered with the parent module, so that
/// parameter names are Hugging Face's own ("...q_proj.weight"). This is a handle: copies name the
/// same place.
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

  /// The layers draw from the pass's key derived by this slot's path.
  torch::Tensor operator()(const torch::Tensor& x_I, const Pass& pass) const;

  /// The outermost layer.
  Linear& get() const { return *place_->linear; }
  const std::shared_ptr<Linear>& pointer() const { return place_->linear; }
  /// Every layer, outermost first.
  std::vector<Linear*> layers() const;
  /// The records of the layers, innermost first.
  SlotRecord record() const;

  /// Puts another stack in place. Errors: c10::Error if the features differ.
  void replace(std::shared_ptr<Linear> linear);
  /// Puts `by` in the place of one layer of the stack; what wraps `layer` wraps `by` then.
  /// Errors: c10::Error if `layer` is not in this slot, or the features differ.
  void replace(const Linear& layer, std::shared_ptr<Linear> by);
  /// Wraps the stack: `make` returns a layer whose base is its argument. Errors: c10::Error if its
  /// base or its features are others.
  void wrap(const std::function<std::shared_ptr<Linear>(std::shared_ptr<Linear> base)>& make);
  /// Takes the outermost wrapper of this kind out of the stack and returns it. Errors: c10::Error
  /// if there is none.
  std::shared_ptr<Linear> unwrap(std::string_view kind);

  /// `observer` sees every input from now on; nullptr ends it.
  void observe(InputObserver* observer) { place_->observer = observer; }

 private:
  struct Place {
    torch::nn::Module* parent = nullptr;
    std::string path;
    std::string name;  // with the parent
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

/// Each slot's product with the same x [..., I]; dense layers go as one where x has few rows.
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

/// A parameter's name in a file: without the word ".base_layer" of layers that are wrapped.
std::string stored_name(const std::string& name);

}  // namespace lowbank
