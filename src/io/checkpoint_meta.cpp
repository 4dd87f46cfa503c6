#include "io/checkpoint_meta.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 8> kSideFiles = {"tokenizer.model",
                                                        "tokenizer.json",
                                                        "tokenizer_config.json",
                                                        "special_tokens_map.json",
                                                        "vocab.txt",
                                                        "vocab.json",
                                                        "merges.txt",
                                                        "generation_config.json"};

// Reads one record's keys, so that a corrupt file is named with the place and never throws a
// library's exception.
class Record {
 public:
  Record(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw IoError(where_ + ": wants an object");
  }
  std::string text(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string()) {
      throw IoError(fmt::format("{}: key '{}' wants a string", where_, key));
    }
    return found->get<std::string>();
  }
  std::int64_t count(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number_unsigned() ||
        found->get<std::uint64_t>() > INT64_MAX) {
      throw IoError(fmt::format("{}: key '{}' wants a whole number >= 0", where_, key));
    }
    return found->get<std::int64_t>();
  }
  // The elements of a list; an absent key is an empty list.
  Json list(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) return Json::array();
    if (!found->is_array()) throw IoError(fmt::format("{}: key '{}' wants a list", where_, key));
    return *found;
  }

 private:
  const Json& object_;
  std::string where_;
};

LayerSetting read_setting(const Json& value, const std::string& where) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  const bool is_list =
      value.is_array() && std::all_of(value.begin(), value.end(),
                                      [](const Json& item) { return item.is_number_integer(); });
  if (!is_list) throw IoError(where + " wants a number, a word or a list of whole numbers");
  return value.get<std::vector<std::int64_t>>();
}

LayerRecord read_layer(const Json& json, const std::string& where) {
  LayerRecord layer{.kind = Record(json, where).text("kind")};
  for (const auto& [key, value] : json.items()) {
    if (key == "kind") continue;
    layer.settings.emplace(key, read_setting(value, fmt::format("{}: key '{}'", where, key)));
  }
  return layer;
}

}  // namespace

bool is_side_file(std::string_view name) {
  return name.starts_with("LICENSE") || name.starts_with("NOTICE") ||
         std::find(kSideFiles.begin(), kSideFiles.end(), name) != kSideFiles.end();
}

std::string resolve_checkpoint(const std::string& path) {
  std::error_code error;
  if (fs::is_regular_file(fs::path(path) / "config.json", error)) return path;
  const fs::path inner = fs::path(path) / "checkpoint";
  if (fs::is_regular_file(inner / "config.json", error)) return inner.string();
  if (!fs::exists(path, error)) throw IoError(path + ": there is no such folder");
  if (!fs::is_directory(path, error)) {
    throw IoError(path +
                  ": is a file; a checkpoint is a folder with config.json (`lowbank convert` makes "
                  "one)");
  }
  throw IoError(path +
                ": is no checkpoint: neither it nor its folder `checkpoint` has config.json");
}

CheckpointMeta read_checkpoint_meta(const std::string& folder) {
  const std::string path = (fs::path(folder) / "lowbank.json").string();
  CheckpointMeta meta;
  if (!fs::exists(path)) return meta;
  const Json file = read_json(path);
  const Record top(file, path);
  const auto revision = top.count("revision");
  if (revision > CheckpointMeta::kRevision) {
    throw IoError(fmt::format("{}: has revision {}, this Lowbank reads up to {}; use a newer one",
                              path, revision, CheckpointMeta::kRevision));
  }
  meta.base_model = top.text("base_model");
  const Json linears = top.list("linears");
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const std::string where = fmt::format("{}: linears[{}]", path, i);
    const Record record(linears[i], where);
    SlotRecord slot{.path = record.text("path"), .layers = {}};
    if (revision == 1) {
      slot.layers.push_back(
          {.kind = record.text("kind"), .settings = {{"rank", record.count("rank")}}});
    } else {
      const Json layers = record.list("layers");
      for (std::size_t j = 0; j < layers.size(); ++j) {
        slot.layers.push_back(read_layer(layers[j], fmt::format("{}: layers[{}]", where, j)));
      }
      if (slot.layers.empty()) throw IoError(where + ": key 'layers' wants at least one layer");
    }
    meta.linears.push_back(std::move(slot));
  }
  const Json history = top.list("history");
  for (std::size_t i = 0; i < history.size(); ++i) {
    const Record record(history[i], fmt::format("{}: history[{}]", path, i));
    meta.history.push_back({.stage = record.text("stage"),
                            .settings_hash = record.text("settings_hash"),
                            .version = record.text("version")});
  }
  return meta;
}

void write_checkpoint_meta(const std::string& folder, const CheckpointMeta& meta) {
  Json linears = Json::array();
  for (const auto& linear : meta.linears) {
    Json layers = Json::array();
    for (const auto& layer : linear.layers) {
      Json record = {{"kind", layer.kind}};
      for (const auto& [key, setting] : layer.settings) {
        std::visit([&, &name = key](const auto& value) { record[name] = value; }, setting);
      }
      layers.push_back(std::move(record));
    }
    linears.push_back({{"path", linear.path}, {"layers", std::move(layers)}});
  }
  Json history = Json::array();
  for (const auto& entry : meta.history) {
    history.push_back({{"stage", entry.stage},
                       {"settings_hash", entry.settings_hash},
                       {"version", entry.version}});
  }
  write_file((fs::path(folder) / "lowbank.json").string(),
             dump_json({{"revision", CheckpointMeta::kRevision},
                        {"base_model", meta.base_model},
                        {"linears", linears},
                        {"history", history}}));
}

void copy_side_files(const std::string& from_folder, const std::string& to_folder) {
  std::error_code error;
  if (fs::equivalent(from_folder, to_folder, error)) return;
  fs::directory_iterator entries(from_folder, error);
  if (error) throw IoError(from_folder + ": cannot list the folder: " + error.message());
  for (const auto& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(error) || !is_side_file(name)) continue;
    write_file((fs::path(to_folder) / name).string(), read_bytes(entry.path().string()));
  }
}

}  // namespace lowbank
