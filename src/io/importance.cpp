#include "io/importance.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/safetensors.h"
#include "io/value_stream.h"

namespace lowbank {

namespace fs = std::filesystem;

std::string importance_path(const std::string& folder) {
  return folder + "/importance.safetensors";
}

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

std::map<std::string, std::vector<float>> read_importance_values(const std::string& folder,
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
  std::map<std::string, std::vector<float>> layers;
  for (const auto& entry : file->entries()) {
    if (!entry.name.ends_with("." + measure)) continue;
    if (entry.type != ElementType::kF32 || entry.shape.size() != 1) {
      throw IoError(
          fmt::format("{}: tensor {} must be float32 with one dimension", path, entry.name));
    }
    const auto bytes = file->bytes(entry);
    if (find_not_finite(entry.type, bytes) >= 0) {
      throw IoError(
          fmt::format("{}: tensor {} holds values that are not finite", path, entry.name));
    }
    std::vector<float> values(bytes.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    layers.emplace(entry.name.substr(0, entry.name.size() - measure.size() - 1), std::move(values));
  }
  if (layers.empty()) {
    throw ConfigError(fmt::format("importance: {} holds no measure \"{}\"", path, measure));
  }
  return layers;
}

}  // namespace lowbank
