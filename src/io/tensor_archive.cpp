#include "io/tensor_archive.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/text.h"
#include "io/gguf.h"
#include "io/llama2c.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

/// The shards of a folder as one archive.
class ShardedArchive : public TensorArchive {
 public:
  ShardedArchive(std::string path, std::vector<std::shared_ptr<const TensorArchive>> shards)
      : TensorArchive(std::move(path)), shards_(std::move(shards)) {
    std::vector<TensorEntry> all;
    for (const auto& shard : shards_) {
      firsts_.push_back(all.size());
      all.insert(all.end(), shard->entries().begin(), shard->entries().end());
    }
    set_entries(std::move(all));
  }

  std::span<const std::byte> bytes(const TensorEntry& entry,
                                   std::vector<std::byte>& scratch) const override {
    const auto position = static_cast<std::size_t>(&entry - entries().data());
    const auto next = std::upper_bound(firsts_.begin(), firsts_.end(), position);
    const auto shard = static_cast<std::size_t>(next - firsts_.begin()) - 1;
    return shards_[shard]->bytes(shards_[shard]->entries()[position - firsts_[shard]], scratch);
  }

 private:
  std::vector<std::shared_ptr<const TensorArchive>> shards_;
  std::vector<std::size_t> firsts_;  // position of each shard's first entry in entries()
};

std::shared_ptr<const TensorArchive> open_shards(const std::string& folder,
                                                 const std::string& index_path) {
  const JsonReader index(read_json(index_path), index_path, kProgramFile);
  const auto tensors = index.at("weight_map").members();
  std::map<std::string, std::shared_ptr<const TensorArchive>> shards;
  for (const auto& [tensor, shard] : tensors) {
    const std::string name = shard.text();
    // The system would cut off a name at a NUL and open another file.
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      shard.fail(fmt::format("'{}' is no file of this folder", name));
    }
    auto& file = shards[name];
    if (!file) file = open_archive((fs::path(folder) / name).string());
    if (file->find(tensor) == nullptr) shard.fail("is not in " + name);
  }
  std::vector<std::shared_ptr<const TensorArchive>> files;
  std::size_t num_stored = 0;
  for (auto& [name, file] : shards) {
    num_stored += file->entries().size();
    files.push_back(std::move(file));
  }
  if (num_stored != tensors.size()) {
    throw IoError(fmt::format("{}: names {} tensors, its files hold {}", index_path, tensors.size(),
                              num_stored));
  }
  return std::make_shared<ShardedArchive>(folder, std::move(files));
}

}  // namespace

const TensorEntry* TensorArchive::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

void TensorArchive::set_entries(std::vector<TensorEntry> entries) {
  entries_ = std::move(entries);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    // Names go into JSON headers and messages; safetensors reserves one of them.
    const std::string& name = entries_[i].name;
    const bool has_control = std::any_of(name.begin(), name.end(), [](unsigned char c) {
      return c < 0x20 || c == 0x7F;  // control characters would reach the terminal
    });
    if (has_control || find_invalid_utf8(name) != std::string_view::npos ||
        name == "__metadata__") {
      throw IoError(
          fmt::format("{}: the name of tensor {} is not allowed: it has control characters, is not "
                      "UTF-8, or is __metadata__",
                      path_, i));
    }
    if (!index_.emplace(entries_[i].name, i).second) {
      throw IoError(fmt::format("{}: holds two tensors '{}'", path_, entries_[i].name));
    }
  }
}

std::shared_ptr<const TensorArchive> open_archive(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  const auto begins_with = [&](std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (begins_with("GGUF")) return GgufFile::open(path);
  if (looks_like_torch_file(bytes)) return TorchFile::open(path);
  if (looks_like_llama2c(bytes)) return Llama2cFile::open(path);
  return SafetensorsFile::open(path);
}

std::shared_ptr<const TensorArchive> open_weights_folder(const std::string& folder) {
  for (const auto* stem : {"model.safetensors", "pytorch_model.bin"}) {
    const std::string whole = (fs::path(folder) / stem).string();
    std::error_code error;
    if (fs::exists(whole, error)) return open_archive(whole);
    if (fs::exists(whole + ".index.json", error)) return open_shards(folder, whole + ".index.json");
  }
  throw IoError(folder +
                ": holds neither model.safetensors nor pytorch_model.bin, whole or in "
                "shards");
}

}  // namespace lowbank
