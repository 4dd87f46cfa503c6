#include "pim/reference_models.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/suggest.h"

namespace lowbank::pim {
namespace {

enum class Family { kRetnet, kGla, kHgrn2, kMamba2, kOpt, kZamba2 };

struct ModelShape {
  const char* name;
  Family family;
  std::int64_t num_decoders, hidden, heads, head_dim, state_dim;
  std::int64_t num_attention_decoders = 0, attention_heads = 0, attention_head_dim = 0;
};

constexpr ModelShape kModels[] = {
    {"retnet-2.7b", Family::kRetnet, 32, 2560, 10, 256, 512},
    {"retnet-70b", Family::kRetnet, 96, 7680, 10, 768, 1536},
    {"gla-2.7b", Family::kGla, 32, 2560, 5, 256, 512},
    {"gla-70b", Family::kGla, 96, 7680, 5, 768, 1536},
    {"hgrn2-2.7b", Family::kHgrn2, 32, 2560, 20, 128, 128},
    {"hgrn2-70b", Family::kHgrn2, 96, 7680, 20, 384, 384},
    {"mamba2-2.7b", Family::kMamba2, 64, 2560, 80, 128, 64},
    {"mamba2-70b", Family::kMamba2, 192, 7680, 80, 384, 192},
    {"opt-7b", Family::kOpt, 0, 4096, 0, 0, 0, 32, 32, 128},
    {"opt-70b", Family::kOpt, 0, 8192, 0, 0, 0, 80, 64, 128},
    {"zamba2-7b", Family::kZamba2, 81, 3584, 112, 64, 64, 13, 32, 224},
    {"zamba2-70b", Family::kZamba2, 174, 7168, 112, 128, 128, 28, 64, 224}};

// Writes the operators of a decoder down in the order in which they run.
class DecoderWriter {
 public:
  DecoderWriter(const ModelShape& model, std::int64_t num_gpus)
      : model_(model), num_gpus_(num_gpus), hidden_(model.hidden), h_(model.hidden / num_gpus) {}

  std::vector<TokenOperator> recurrent() {
    switch (model_.family) {
      case Family::kMamba2:
        return mamba();
      case Family::kZamba2:
        norm(hidden_);
        return mamba();
      case Family::kGla:
        norm(hidden_), linear(2 * h_, hidden_), linear(16, hidden_), linear(h_ / 2, 16);
        state_update();
        linear(2 * hidden_, h_), link(), norm(hidden_), linear(8 * h_, hidden_);
        activation("others", part(2.6, h_)), link();
        return operators_;
      case Family::kHgrn2:
        norm(hidden_), linear(3 * h_, hidden_), state_update(), linear(hidden_, h_), link();
        norm(hidden_), linear(8 * h_, hidden_), activation("others", part(2.6, h_)), link();
        return operators_;
      case Family::kRetnet:
        norm(hidden_), linear(4 * h_, hidden_), state_update(), linear(2 * hidden_, h_);
        linear(hidden_, 2 * hidden_ / num_gpus_), link(), norm(hidden_);
        linear(part(4.2, h_), hidden_), activation("others", part(1.4, h_)), link();
        return operators_;
      case Family::kOpt:
        break;
    }
    return operators_;
  }

  std::vector<TokenOperator> attending() {
    if (model_.family == Family::kOpt) {
      linear(3 * h_, hidden_), attention(), linear(hidden_, h_), link(), norm(hidden_);
      linear(4 * h_, hidden_), activation("others", 4 * h_), linear(hidden_, 4 * h_), link();
      norm(hidden_);
    } else {
      norm(2 * hidden_), linear(6 * h_, 2 * hidden_), attention();
      linear(hidden_, 2 * hidden_ / num_gpus_), link(), norm(hidden_), linear(8 * h_, hidden_);
      activation("others", 4 * h_), linear(hidden_, 4 * h_), link();
    }
    return operators_;
  }

 private:
  static std::int64_t part(double factor, std::int64_t size) {
    return static_cast<std::int64_t>(factor * static_cast<double>(size));
  }
  std::vector<TokenOperator> mamba() {
    linear(part(4.1, h_), hidden_), activation("causal_conv1d", part(8.4, hidden_));
    activation("discretization", model_.heads), state_update(), norm(2 * hidden_);
    activation("others", 2 * h_), linear(hidden_, 2 * hidden_ / num_gpus_), link();
    return operators_;
  }
  void linear(std::int64_t n, std::int64_t k) { operators_.push_back({.n = n, .k = k}); }
  void norm(std::int64_t n) {
    operators_.push_back({.kind = TokenOperatorKind::kNorm, .category = "others", .n = n});
  }
  void activation(const char* category, std::int64_t n) {
    operators_.push_back({.kind = TokenOperatorKind::kActivation, .category = category, .n = n});
  }
  void link() {
    if (num_gpus_ == 1) return;
    operators_.push_back({.kind = TokenOperatorKind::kAllReduce, .category = "comm", .n = hidden_});
  }
  void state_update() {
    operators_.push_back({.kind = TokenOperatorKind::kStateUpdate,
                          .category = "state_update",
                          .heads = (model_.heads + num_gpus_ - 1) / num_gpus_,
                          .head_dim = model_.head_dim,
                          .state_dim = model_.state_dim});
  }
  void attention() {
    operators_.push_back({.kind = TokenOperatorKind::kAttention,
                          .category = "gemv",
                          .heads = model_.attention_heads / num_gpus_,
                          .head_dim = model_.attention_head_dim});
  }

  const ModelShape& model_;
  std::int64_t num_gpus_;
  std::int64_t hidden_;
  std::int64_t h_;  // a GPU's part of the hidden size
  std::vector<TokenOperator> operators_;
};

}  // namespace

std::vector<std::string> reference_model_names() {
  std::vector<std::string> names;
  for (const ModelShape& model : kModels) names.emplace_back(model.name);
  return names;
}

std::vector<TokenDecoder> reference_model(const std::string& name, std::int64_t num_gpus) {
  const auto* const model = std::find_if(std::begin(kModels), std::end(kModels),
                                         [&](const ModelShape& m) { return name == m.name; });
  if (model == std::end(kModels)) {
    const std::vector<std::string> names = reference_model_names();
    throw ConfigError(fmt::format("unknown model '{}'{}; there are {}", name,
                                  did_you_mean(name, names), fmt::join(names, ", ")));
  }
  const std::int64_t most =
      model->num_attention_decoders > 0 ? model->attention_heads : model->hidden / 32;
  if (num_gpus > most) {
    throw ConfigError(fmt::format("num_gpus: {} cannot be split over more than {} GPUs; got {}",
                                  name, most, num_gpus));
  }
  std::vector<TokenDecoder> decoders;
  if (model->num_decoders > 0) {
    decoders.push_back(
        {.count = model->num_decoders, .operators = DecoderWriter(*model, num_gpus).recurrent()});
  }
  if (model->num_attention_decoders > 0) {
    decoders.push_back({.count = model->num_attention_decoders,
                        .operators = DecoderWriter(*model, num_gpus).attending()});
  }
  return decoders;
}

}  // namespace lowbank::pim
