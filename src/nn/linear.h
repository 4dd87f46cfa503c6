#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

namespace lowbank {

/// One matrix product inside a linear layer, per token: [1, in] x [in, out].
struct LinearStage {
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
};

/// y = f(x) for x [..., I] -> y [..., O]: what a projection slot of any model holds. Dense layers,
/// factors, adapters, masks and noisy cells are implementations; no model knows which one it runs.
class Linear : public torch::nn::Module {
 public:
  /// x [..., I] -> [..., O]. Errors: c10::Error if x.size(-1) != in_features.
  virtual torch::Tensor forward(const torch::Tensor& x_I) = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t out_features() const = 0;
  /// "dense", "svd", ...: as in lowbank.json.
  virtual std::string_view kind() const = 0;
  /// Rank of a factored layer, 0 otherwise.
  virtual std::int64_t rank() const { return 0; }
  /// The matrix products of one forward pass, in order.
  virtual std::vector<LinearStage> stages() const = 0;
};

/// What a projection does in its model; decides defaults (blocks are compressed, the head is not).
enum class LinearRole { kAttention, kMlp, kMixer, kHead, kPooler, kClassifier };

/// Where a model holds a Linear: the module is registered with its parent under `name`, so that
/// parameter names are Hugging Face's own ("...q_proj.weight").
class LinearSlot {
 public:
  LinearSlot() = default;
  /// Registers `linear` with `parent`, which must own this slot (and outlive it).
  LinearSlot(torch::nn::Module& parent, std::string name, LinearRole role,
             std::shared_ptr<Linear> linear);
  /// Puts another implementation in place. Errors: c10::Error if the features differ.
  void replace(std::shared_ptr<Linear> linear);
  torch::Tensor operator()(const torch::Tensor& x_I) const { return linear_->forward(x_I); }
  Linear& get() const { return *linear_; }
  const std::shared_ptr<Linear>& pointer() const { return linear_; }
  LinearRole role() const { return role_; }

 private:
  torch::nn::Module* parent_ = nullptr;
  std::string name_;
  LinearRole role_ = LinearRole::kAttention;
  std::shared_ptr<Linear> linear_;
};

/// Each slot's product with the same x [..., I]; dense layers go as one where x has few rows.
std::vector<torch::Tensor> forward_group(const torch::Tensor& x_I,
                                         std::initializer_list<const LinearSlot*> slots);

/// Called with the module path and the slot of every projection of a model, in forward order.
using SlotVisitor = std::function<void(const std::string& path, LinearSlot& slot)>;

/// Visits every slot of one model (LanguageModel::visit_linears): what rooms below models/ get to
/// see of it.
using SlotWalk = std::function<void(const SlotVisitor& visit)>;

}  // namespace lowbank
