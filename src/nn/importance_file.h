#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <torch/types.h>

namespace lowbank {

/// A way to compute one number per rank of a factored layer from the examples' gradients g of s.
struct ImportanceMeasure {
  std::string_view name;
  std::string_view definition;
};

/// Every measure of importance.safetensors; larger means more important.
inline constexpr std::array<ImportanceMeasure, 5> kImportanceMeasures = {{
    {"abs_grad", "mean over the examples of |g|"},
    {"fisher", "mean over the examples of g^2"},
    {"signed", "|mean over the examples of g|"},
    {"magnitude", "|s|"},
    {"rank_order", "R - index: the first rank is the most important"},
}};

/// Values [R] float32 by measure, of one factored layer.
using LayerImportance = std::map<std::string, torch::Tensor>;

/// Rank importance of every factored layer of a model.
struct RankImportance {
  std::int64_t num_examples = 0;
  std::map<std::string, LayerImportance> layers;  ///< by module path
};

/// Writes `folder`/importance.safetensors (docs/redistribute.md): tensors `<path>.<measure>` [R]
/// float32, and the hash of the model files that are in the folder at this moment. Errors: IoError.
void write_importance(const std::string& folder, const RankImportance& importance);

/// One measure, [R] by module path, of the checkpoint in `folder`.
/// Errors: IoError if the file is missing, corrupt, or was made for other weights than those in the
/// folder; ConfigError if the file does not hold the measure.
std::map<std::string, torch::Tensor> read_importance(const std::string& folder,
                                                     const std::string& measure);

}  // namespace lowbank
