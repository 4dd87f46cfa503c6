#include "nn/importance_file.h"

#include <utility>
#include <vector>

#include <ATen/ops/tensor.h>

#include "io/importance.h"
#include "nn/tensor_file.h"

namespace lowbank {
void write_importance(const std::string& folder, const RankImportance& importance) {
  std::map<std::string, std::string> metadata = {
      {"format", "pt"},
      {"lowbank_importance", std::string(kImportanceRevision)},
      {"num_examples", std::to_string(importance.num_examples)},
      {"weights_hash", hash_weights(folder)},
      {"gradient", "g = d(mean negative log-likelihood of the example's predicted tokens) / d s"}};
  for (const auto& measure : kImportanceMeasures) {
    metadata[std::string(measure.name)] = measure.definition;
  }
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [path, measures] : importance.layers) {
    for (const auto& [measure, values_R] : measures) {
      TORCH_CHECK(values_R.dim() == 1, "write_importance: ", path, ".", measure,
                  " must be [R], got ", values_R.sizes());
      tensors.emplace(path + "." + measure, values_R.to(torch::kFloat));
    }
  }
  write_tensors(importance_path(folder), tensors, std::move(metadata));
}

std::map<std::string, torch::Tensor> read_importance(const std::string& folder,
                                                     const std::string& measure) {
  std::map<std::string, torch::Tensor> layers;
  for (const auto& [path, values] : read_importance_values(folder, measure)) {
    layers.emplace(path, at::tensor(values, at::TensorOptions(c10::kFloat)));
  }
  return layers;
}

}  // namespace lowbank
