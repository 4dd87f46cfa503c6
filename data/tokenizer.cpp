#include "data/tokenizer.h"

#include <array>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/sentencepiece_tokenizer.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSupported = "supported is a sentencepiece model (tokenizer.model)";

// Forms that other programs use, to say what is there instead of what is not.
constexpr std::array<const char*, 4> kOtherForms = {"tokenizer.json", "vocab.txt", "vocab.json",
                                                    "merges.txt"};

/// tokenizer.model of a checkpoint folder or of the checkpoint in a run folder; "" if none.
fs::path find_model(const fs::path& folder) {
  std::error_code error;
  for (const auto& inner : {folder, folder / "checkpoint"}) {
    if (fs::is_regular_file(inner / "tokenizer.model", error)) return inner / "tokenizer.model";
  }
  return {};
}

[[noreturn]] void fail_without_model(const fs::path& folder) {
  std::error_code error;
  for (const auto& inner : {folder, folder / "checkpoint"}) {
    for (const auto* name : kOtherForms) {
      if (!fs::exists(inner / name, error)) continue;
      throw IoError(fmt::format("{}: this form of tokenizer is not supported; {}",
                                (inner / name).string(), kSupported));
    }
  }
  throw IoError(fmt::format("{}: holds no tokenizer; {}", folder.string(), kSupported));
}

bool flag(const nlohmann::ordered_json& config, const char* key, bool absent,
          const std::string& path) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return absent;
  if (!found->is_boolean()) throw IoError(fmt::format("{}: key '{}' wants a boolean", path, key));
  return found->get<bool>();
}

SpecialTokens read_special_tokens(const fs::path& model) {
  SpecialTokens special;
  const std::string path = (model.parent_path() / "tokenizer_config.json").string();
  if (!fs::exists(path)) return special;
  const auto config = read_json(path);
  if (!config.is_object()) throw IoError(path + ": wants an object");
  const auto name = config.find("tokenizer_class");
  if (name != config.end() && *name != "LlamaTokenizer" && *name != "LlamaTokenizerFast") {
    // Others number the pieces differently, or add other tokens.
    throw IoError(
        fmt::format("{}: tokenizer_class {} is not supported; allowed: LlamaTokenizer, "
                    "LlamaTokenizerFast",
                    path, name->dump()));
  }
  special.add_bos = flag(config, "add_bos_token", special.add_bos, path);
  special.add_eos = flag(config, "add_eos_token", special.add_eos, path);
  return special;
}

}  // namespace

bool has_tokenizer(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? !find_model(path).empty() : fs::exists(path, error);
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  std::error_code error;
  fs::path model = path;
  if (fs::is_directory(path, error)) {
    model = find_model(path);
    if (model.empty()) fail_without_model(path);
  }
  const std::string bytes = read_bytes(model.string());
  if (model.extension() == ".json" || model.extension() == ".txt") {
    throw IoError(
        fmt::format("{}: this form of tokenizer is not supported; {}", model.string(), kSupported));
  }
  return std::make_unique<SentencepieceTokenizer>(bytes, model.string(),
                                                  read_special_tokens(model));
}

}  // namespace lowbank
