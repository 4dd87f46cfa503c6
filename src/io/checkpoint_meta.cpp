#include "io/checkpoint_meta.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/text.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kSideFiles[] = {"tokenizer.model",
                                           "tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.txt",
                                           "vocab.json",
                                           "merges.txt",
                                           "generation_config.json",
                                           kModulesFile,
                                           "sentence_bert_config.json",
                                           "config_sentence_transformers.json"};

constexpr JsonRules kMetaRules{.blame = JsonRules::Blame::kFile, .null_is_absent = false};

constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

LayerSetting read_setting(const JsonReader& setting) {
  const Json& value = setting.value();
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  const bool is_list =
      value.is_array() && std::all_of(value.begin(), value.end(),
                                      [](const Json& item) { return item.is_number_integer(); });
  if (!is_list) setting.fail("must be a number, a word or a list of whole numbers");
  return value.get<std::vector<std::int64_t>>();
}

LayerRecord read_layer(const JsonReader& reader) {
  LayerRecord layer{.kind = reader.text("kind")};
  for (const auto& [key, setting] : reader.members()) {
    if (key != "kind") layer.settings.emplace(key, read_setting(setting));
  }
  return layer;
}

}  // namespace

bool is_side_file(std::string_view name) {
  return name.starts_with("LICENSE") || name.starts_with("NOTICE") ||
         std::ranges::find(kSideFiles, name) != std::end(kSideFiles);
}

std::optional<std::string> foreign_folder_hint(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error) || fs::exists(fs::path(path) / "config.json", error)) {
    return std::nullopt;
  }
  bool has_weights = false;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    has_weights = has_weights || (name.starts_with("consolidated.") &&
                                  (name.ends_with(".pth") || name.ends_with(".safetensors")));
  }
  const bool has_params = fs::is_regular_file(fs::path(path) / "params.json", error);
  if (!has_params && !has_weights) return std::nullopt;
  return fmt::format(
      "{}: is a model in Meta's original form ({}), which Lowbank does not read; make a Hugging "
      "Face folder of it first: python -m transformers.models.llama.convert_llama_weights_to_hf "
      "--input_dir {} --output_dir OUT (with its --model_size and --llama_version), or take the "
      "model's folder with config.json",
      path,
      has_params && has_weights ? "params.json and consolidated.* files"
      : has_params              ? "params.json"
                                : "consolidated.* files",
      path);
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
  if (const auto hint = foreign_folder_hint(path)) throw ConfigError(*hint);
  throw IoError(path +
                ": is no checkpoint: neither it nor its folder `checkpoint` has config.json");
}

CheckpointMeta read_checkpoint_meta(const std::string& folder) {
  const std::string path = (fs::path(folder) / "lowbank.json").string();
  CheckpointMeta meta;
  if (!fs::exists(path)) return meta;
  const JsonReader file(read_json(path), path, kMetaRules);
  const auto revision = file.integer("revision", 0, kAny);
  if (revision > CheckpointMeta::kRevision) {
    throw IoError(fmt::format("{}: has revision {}, this Lowbank reads up to {}; use a newer one",
                              path, revision, CheckpointMeta::kRevision));
  }
  meta.base_model = file.text("base_model");
  for (const JsonReader& linear : file.items("linears")) {
    SlotRecord slot{.path = linear.text("path"), .layers = {}};
    if (revision == 1) {
      slot.layers.push_back(
          {.kind = linear.text("kind"), .settings = {{"rank", linear.integer("rank", 0, kAny)}}});
    } else {
      for (const JsonReader& layer : linear.items("layers")) {
        slot.layers.push_back(read_layer(layer));
      }
      if (slot.layers.empty()) linear.fail("'layers' must hold at least one layer");
    }
    meta.linears.push_back(std::move(slot));
  }
  for (const JsonReader& entry : file.items("history")) {
    meta.history.push_back({.stage = entry.text("stage"),
                            .settings_hash = entry.text("settings_hash"),
                            .version = entry.text("version")});
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

bool is_module_folder(std::string_view name) {
  return !name.empty() && !name.starts_with('.') && name.find('/') == std::string_view::npos;
}

std::map<std::string, std::string> read_side_files(const std::string& folder) {
  std::map<std::string, std::string> files;
  std::vector<std::string> links;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!it->is_regular_file(error) || !is_side_file(name)) continue;
    files[name] = read_bytes(it->path().string());
    if (it->is_symlink(error)) links.push_back(name);
  }
  if (error) throw IoError(folder + ": cannot list the folder: " + error.message());
  if (const auto modules = files.find(std::string(kModulesFile)); modules != files.end()) {
    const Json list = Json::parse(modules->second, nullptr, /*allow_exceptions=*/false);
    for (const auto& module : list.is_array() ? list : Json::array()) {
      if (!module.is_object() || !module.contains("path") || !module["path"].is_string()) continue;
      const std::string name = module["path"].get<std::string>();
      const fs::path file = fs::path(folder) / name / "config.json";
      if (is_module_folder(name) && fs::is_regular_file(file, error)) {
        files[name + "/config.json"] = read_bytes(file.string());
      }
    }
  }
  std::sort(links.begin(), links.end());
  if (!links.empty()) {
    note("{}: {} {}; what {} is copied", folder, fmt::join(links, ", "),
         links.size() == 1 ? "is a link" : "are links",
         links.size() == 1 ? "it points to" : "they point to");
  }
  return files;
}

void copy_side_files(const std::string& from_folder, const std::string& to_folder) {
  std::error_code error;
  if (fs::equivalent(from_folder, to_folder, error)) return;
  for (const auto& [name, bytes] : read_side_files(from_folder)) {
    const fs::path file = fs::path(to_folder) / name;
    make_folders(file.parent_path().string());
    write_file(file.string(), bytes);
  }
}

}  // namespace lowbank
