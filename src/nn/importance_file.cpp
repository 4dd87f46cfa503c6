#include "nn/importance_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/safetensors.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImportanceFile = "importance.safetensors";
constexpr std::string_view kImportanceRevision = "1";

std::string importance_path(const std::string& folder) {
  return folder + "/" + std::string(kImportanceFile);
}

// One hash over all weight files of a checkpoint folder, so that importance of other weights is not
// taken for this model's.
std::string hash_weights(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) files.push_back(name);
  }
  if (error) throw IoError(folder + ": cannot list the folder: " + error.message());
  std::sort(files.begin(), files.end());
  std::string hashes;
  for (const auto& file : files) hashes += hash_file(folder + "/" + file);
  return hash_bytes(hashes);
}

}  // namespace

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
  const std::string path = importance_path(folder);
  if (!fs::exists(path)) {
    throw IoError(path + ": not found; `lowbank redistribute` makes it");
  }
  const auto file = SafetensorsFile::open(path);
  const auto& metadata = file->metadata();
  const auto value_of = [&](const std::string& key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  if (value_of("lowbank_importance") != kImportanceRevision) {
    throw IoError(fmt::format("{}: metadata lowbank_importance must be {}, got \"{}\"", path,
                              kImportanceRevision, value_of("lowbank_importance")));
  }
  if (value_of("weights_hash") != hash_weights(folder)) {
    throw IoError(path +
                  ": was made for other weights than those beside it; run `lowbank "
                  "redistribute` again");
  }
  std::map<std::string, torch::Tensor> layers;
  for (const auto& entry : file->entries()) {
    if (!entry.name.ends_with("." + measure)) continue;
    if (entry.type != ElementType::kF32 || entry.shape.size() != 1) {
      throw IoError(
          fmt::format("{}: tensor {} must be float32 with one dimension", path, entry.name));
    }
    auto values_R = view_tensor(file, entry).clone();
    if (!at::isfinite(values_R).all().item<bool>()) {
      throw IoError(
          fmt::format("{}: tensor {} holds values that are not finite", path, entry.name));
    }
    layers.emplace(entry.name.substr(0, entry.name.size() - measure.size() - 1),
                   std::move(values_R));
  }
  if (layers.empty()) {
    throw ConfigError(fmt::format("importance: {} holds no measure \"{}\"", path, measure));
  }
  return layers;
}

}  // namespace lowbank
