#include "io/sentence_encoder.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/json_reader.h"
#include "core/opened_files.h"
#include "io/checkpoint_meta.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Pooling = SentenceEncoder::Pooling;

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 31;

bool find_file(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return true;
  note_missing_file(path.string());
  return false;
}

JsonReader open_json(const fs::path& path) { return {read_json(path.string()), path.string()}; }

Pooling read_pooling(const JsonReader& config) {
  struct Mode {
    const char* flag;  // as versions up to 5 write it
    const char* word;  // of later versions
    std::optional<Pooling> pooling;
  };
  // The mean times the square root of the length points where the mean points.
  static const std::array<Mode, 6> kModes = {{
      {"pooling_mode_cls_token", "cls", Pooling::kCls},
      {"pooling_mode_mean_tokens", "mean", Pooling::kMean},
      {"pooling_mode_max_tokens", "max", Pooling::kMax},
      {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::kMean},
      {"pooling_mode_weightedmean_tokens", "weightedmean", std::nullopt},
      {"pooling_mode_lasttoken", "lasttoken", std::nullopt},
  }};
  constexpr const char* kKnown = "mean, cls or max";
  if (config.has("pooling_mode")) {
    const std::string word = config.text("pooling_mode");
    for (const auto& mode : kModes) {
      if (word == mode.word && mode.pooling) return *mode.pooling;
    }
    config.refuse("pooling_mode", kKnown);
  }
  const Mode* found = nullptr;
  for (const auto& mode : kModes) {
    if (!config.flag(mode.flag, false)) continue;
    if (found != nullptr || !mode.pooling) {
      config.refuse(mode.flag, found == nullptr ? kKnown : "one mode at a time");
    }
    found = &mode;
  }
  if (found == nullptr) config.refuse("pooling_mode_mean_tokens", "one of the modes true");
  return *found->pooling;
}

// The configuration of the Transformer module has a name of its own for every family.
void read_transformer(const fs::path& folder, SentenceEncoder& encoder) {
  for (const char* family :
       {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const fs::path path = folder / ("sentence_" + std::string(family) + "_config.json");
    if (!find_file(path)) continue;
    const JsonReader config = open_json(path);
    encoder.lower_case = config.flag("do_lower_case", false);
    if (config.has("max_seq_length")) {
      encoder.max_tokens = config.integer("max_seq_length", 1, 1, kMaxTokens);
    }
    return;
  }
}

}  // namespace

std::optional<SentenceEncoder> read_sentence_encoder(const std::string& folder) {
  const fs::path modules_path = fs::path(folder) / kModulesFile;
  if (!find_file(modules_path)) return std::nullopt;
  SentenceEncoder encoder;
  bool has_pooling = false;
  const JsonReader modules = open_json(modules_path);
  for (const auto& module : modules.items()) {
    const std::string type = module.text("type");
    const std::string kind = type.substr(type.rfind('.') + 1);
    const std::string path = module.text("path", "");
    if (!path.empty() && !is_module_folder(path)) module.refuse("path", "a folder beside the file");
    if (kind == "Transformer") {
      if (!path.empty()) module.refuse("path", "\"\": the model in the folder itself");
      read_transformer(folder, encoder);
    } else if (kind == "Pooling") {
      encoder.pooling = read_pooling(open_json(fs::path(folder) / path / "config.json"));
      has_pooling = true;
    } else if (kind != "Normalize" && kind != "Dropout") {
      module.refuse("type", "Transformer, Pooling, Normalize, Dropout");
    }
  }
  if (!has_pooling) modules.fail("has no Pooling module");
  return encoder;
}

std::map<std::string, std::string> sentence_encoder_files(Pooling pooling,
                                                          std::int64_t hidden_size) {
  using Json = nlohmann::ordered_json;
  constexpr const char* kPoolingFolder = "1_Pooling";
  const auto module = [](int number, const char* path, const char* kind) -> Json {
    return {{"idx", number},
            {"name", std::to_string(number)},
            {"path", path},
            {"type", "sentence_transformers.models." + std::string(kind)}};
  };
  return {{std::string(kModulesFile),
           dump_json({module(0, "", "Transformer"), module(1, kPoolingFolder, "Pooling")})},
          {std::string(kPoolingFolder) + "/config.json",
           dump_json({{"word_embedding_dimension", hidden_size},
                      {"pooling_mode_cls_token", pooling == Pooling::kCls},
                      {"pooling_mode_mean_tokens", pooling == Pooling::kMean},
                      {"pooling_mode_max_tokens", pooling == Pooling::kMax}})}};
}

}  // namespace lowbank
