#include "tools/convert/convert_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/opened_files.h"
#include "core/text.h"
#include "io/families/families.h"
#include "io/gguf.h"
#include "io/gguf_model.h"
#include "io/llama2c.h"
#include "io/mapped_file.h"
#include "io/sentence_encoder.h"
#include "io/state_spaces.h"
#include "io/torch_file.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/tokenizer_files.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxProblems = 20;

/// Fits the tensors of an archive, under the names that `rename` gives them, to a layout.
class LayoutFitter {
 public:
  LayoutFitter(ConvertSource& source, ParameterList layout)
      : source_(source), layout_(std::move(layout)) {}

  /// Expects the layers that lowbank.json names instead of dense weights.
  void replace_layers(const std::vector<SlotRecord>& slots);
  /// `rename` returns the Hugging Face name, or nothing for a tensor that the model has no place
  /// for.
  void fit(const std::function<std::optional<std::string>(const std::string&)>& rename);
  /// The transform that a tensor's values need, and whether a tensor that is missing is zero; set
  /// them before fit().
  std::function<TensorTransform(const std::string&)> transform_of;
  std::function<bool(const std::string&)> may_lack;

 private:
  void drop_ties();
  void check_type(const TensorEntry& entry) {
    if (is_float(entry.type) || is_quantized(entry.type)) return;
    add_problem(fmt::format("'{}' is of type {}, which is no weight type", entry.name,
                            element_type_name(entry.type)));
  }
  void add_problem(std::string text) {
    if (problems_.size() < kMaxProblems) problems_.push_back(std::move(text));
  }

  ConvertSource& source_;
  ParameterList layout_;
  std::map<std::string, const TensorEntry*> stored_;  // not yet fitted, by Hugging Face name
  std::vector<std::string> slots_;  // paths whose layers hold parameters of their own names
  std::vector<std::string> problems_;
};

// GGUF keeps a convolution's [D, 1, W] as [D, W].
std::vector<std::int64_t> without_ones(std::vector<std::int64_t> shape) {
  std::erase(shape, 1);
  return shape;
}

// Only the kinds of layers know their parameters, so they are not checked here; load_model does
// that.
void LayoutFitter::replace_layers(const std::vector<SlotRecord>& slots) {
  for (const auto& slot : slots) {
    const auto found =
        std::find_if(layout_.parameters.begin(), layout_.parameters.end(),
                     [&](const ParameterSpec& p) { return p.name == slot.path + ".weight"; });
    if (found == layout_.parameters.end()) {
      add_problem(
          fmt::format("lowbank.json names layer '{}' of kind '{}', which the model has no "
                      "place for",
                      slot.path, slot.layers.back().kind));
      continue;
    }
    if (slot.layers.front().kind != "dense") layout_.parameters.erase(found);
    slots_.push_back(slot.path);
  }
}

void LayoutFitter::drop_ties() {
  for (const auto& [name, original] : layout_.ties) {
    const auto copy = stored_.find(name);
    const auto kept = stored_.find(original);
    if (copy == stored_.end() || kept == stored_.end()) continue;
    std::vector<std::byte> scratch_a, scratch_b;
    const auto& a = *copy->second;
    const auto& b = *kept->second;
    if (a.type != b.type || a.shape != b.shape ||
        !std::ranges::equal(source_.archive->bytes(a, scratch_a),
                            source_.archive->bytes(b, scratch_b))) {
      add_problem(
          fmt::format("'{}' differs from '{}', although config.json ties them", name, original));
    }
    source_.dropped.emplace_back(a.name, "the same as " + original + ", stored once");
    stored_.erase(copy);
  }
}

void LayoutFitter::fit(
    const std::function<std::optional<std::string>(const std::string&)>& rename) {
  for (const auto& entry : source_.archive->entries()) {
    const std::string name = rename(entry.name).value_or(entry.name);
    if (is_buffer_name(name)) {
      source_.dropped.emplace_back(entry.name, "a buffer that the model computes");
    } else if (name == "rope_freqs.weight") {
      source_.dropped.emplace_back(entry.name, "now rope_scaling in config.json");
    } else if (!stored_.emplace(name, &entry).second) {
      add_problem(fmt::format("'{}' and another tensor are both '{}'", entry.name, name));
    }
  }
  drop_ties();
  std::set<std::string> present, absent;
  for (const auto& p : layout_.parameters)
    (stored_.contains(p.name) ? present : absent).insert(p.part);
  for (const auto& [name, shape, initialisation, part] : layout_.parameters) {
    const auto found = stored_.find(name);
    if (found == stored_.end()) {
      if (may_lack && may_lack(name)) {
        source_.tensors.push_back({.name = name, .shape = shape, .transform = {}});
        continue;
      }
      // A model may lack a whole optional part (the pooler); half of a part is an error.
      if (part.empty() || present.contains(part)) {
        add_problem(fmt::format("'{}' [{}] is missing", name, fmt::join(shape, ", ")));
      }
      continue;
    }
    const TensorEntry& entry = *found->second;
    stored_.erase(found);
    if (without_ones(entry.shape) != without_ones(shape)) {
      add_problem(fmt::format("'{}' is [{}], config.json wants [{}]", entry.name,
                              fmt::join(entry.shape, ", "), fmt::join(shape, ", ")));
    } else {
      check_type(entry);
    }
    source_.tensors.push_back({.entry = &entry,
                               .name = name,
                               .shape = shape,
                               .transform = transform_of ? transform_of(name) : TensorTransform()});
  }
  for (const auto& path : slots_) {
    bool has_parameters = false;
    for (auto it = stored_.lower_bound(path + "."); it != stored_.end();) {
      if (!it->first.starts_with(path + ".")) break;
      const TensorEntry& entry = *it->second;
      check_type(entry);
      source_.tensors.push_back(
          {.entry = &entry, .name = it->first, .shape = entry.shape, .transform = {}});
      it = stored_.erase(it);
      has_parameters = true;
    }
    if (!has_parameters) add_problem(fmt::format("the parameters of layer '{}' are missing", path));
  }
  for (const auto& [name, entry] : stored_) {
    add_problem(fmt::format("'{}' [{}] has no place in the model", entry->name,
                            fmt::join(entry->shape, ", ")));
  }
  for (const auto& part : absent) {
    if (!part.empty() && !present.contains(part)) source_.absent.push_back(part);
  }
  if (!problems_.empty()) {
    throw IoError(fmt::format("{}: the tensors do not fit config.json: {}{}",
                              source_.archive->path(), fmt::join(problems_, "; "),
                              problems_.size() == kMaxProblems ? "; and perhaps more" : ""));
  }
}

// The name that a tokenizer file has in a Hugging Face folder.
std::string side_file_name(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  if (is_side_file(name)) return name;
  const std::string extension = fs::path(path).extension().string();
  return extension == ".json"  ? "tokenizer.json"
         : extension == ".txt" ? "vocab.txt"
                               : "tokenizer.model";
}

// Files of --tokenizer, checked to belong to a model with that many rows in its embedding.
std::map<std::string, std::string> tokenizer_files(const std::string& path, std::int64_t vocab_size,
                                                   const std::string& model) {
  const auto tokenizer = tokenizers::open_tokenizer(path);
  if (tokenizer->vocab_size() > vocab_size) {
    throw ConfigError(fmt::format(
        "tokenizer: {} has {} pieces, the vocabulary of {} has {}; they do not belong together",
        path, tokenizer->vocab_size(), model, vocab_size));
  }
  if (fs::is_directory(path)) return read_side_files(path);
  std::map<std::string, std::string> files = {{side_file_name(path), read_bytes(path)}};
  for (const auto* name :
       {"merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    const auto beside = fs::path(path).parent_path() / name;
    std::error_code error;
    if (fs::is_regular_file(beside, error)) {
      files[name] = read_bytes(beside.string());
    } else {
      note_missing_file(beside.string());
    }
  }
  return files;
}

void open_hugging_face(const std::string& folder, ConvertSource& source) {
  const std::string config_path = (fs::path(folder) / "config.json").string();
  source.format = "Hugging Face folder";
  source.config = std::make_shared<const Json>(read_json(config_path));
  source.meta = read_checkpoint_meta(folder);
  source.archive = open_weights_folder(folder);
  const auto has = [&](const std::string& name) { return source.archive->find(name) != nullptr; };
  LayoutFitter fitter(source, model_parameters(*source.config, config_path, has));
  fitter.replace_layers(source.meta.linears);
  fitter.fit(current_name);
  source.files = read_side_files(folder);
}

void open_gguf(const std::string& path, ConvertSource& source) {
  const auto file = GgufFile::open(path);
  const Json config = config_from_gguf(*file);
  const std::string architecture = file->text("general.architecture");
  source.format = "GGUF file";
  source.config = std::make_shared<const Json>(config);
  source.archive = file;
  LayoutFitter fitter(source, model_parameters(config, path));
  fitter.transform_of = [&](const std::string& name) { return transform_from_gguf(config, name); };
  fitter.may_lack = [&](const std::string& name) { return may_lack_in_gguf(architecture, name); };
  fitter.fit([&](const std::string& name) { return hugging_face_name(architecture, name); });
  source.files = tokenizers::tokenizer_files_from_gguf(*file);
  // llama.cpp's number of the pooling of the first token; the mean is what a folder stands for anyway.
  if (architecture == "bert" && file->integer("bert.pooling_type", 1) == 2) {
    source.files.merge(sentence_encoder_files(SentenceEncoder::Pooling::kCls,
                                              config.at("hidden_size").get<std::int64_t>()));
  }
  if (config.contains("eos_token_id")) {
    Json generation = {{"eos_token_id", config["eos_token_id"]}};
    if (config.contains("bos_token_id")) generation["bos_token_id"] = config["bos_token_id"];
    // Some chat models have a token of their own for the end of a turn.
    constexpr auto* kEndOfTurn = "tokenizer.ggml.eot_token_id";
    if (file->has(kEndOfTurn) && file->integer(kEndOfTurn) != config["eos_token_id"]) {
      generation["eos_token_id"] = {config["eos_token_id"], file->integer(kEndOfTurn)};
    }
    source.files["generation_config.json"] = dump_json(generation);
  }
  source.meta.base_model = file->text("general.name", fs::path(path).stem().string());
}

// What transformers 4.57 writes for a LlamaForCausalLM of this shape.
// Source of the values that a llama2.c file does not hold: karpathy/llama2.c, run.c (rmsnorm adds
// 1e-5, rotations use the base 10000, silu).
Json llama2c_config(const Llama2cConfig& c, std::int64_t bos_id, std::int64_t eos_id) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"attention_bias", false},
          {"attention_dropout", 0.0},
          {"bos_token_id", bos_id},
          {"eos_token_id", eos_id},
          {"head_dim", c.head_dim()},
          {"hidden_act", "silu"},
          {"hidden_size", c.dim},
          {"initializer_range", 0.02},
          {"intermediate_size", c.hidden_dim},
          {"max_position_embeddings", c.max_context},
          {"mlp_bias", false},
          {"model_type", "llama"},
          {"num_attention_heads", c.num_heads},
          {"num_hidden_layers", c.num_layers},
          {"num_key_value_heads", c.num_kv_heads},
          {"pretraining_tp", 1},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling", nullptr},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", !c.has_own_head},
          {"torch_dtype", "float32"},
          {"use_cache", true},
          {"vocab_size", c.vocab_size}};
}

void open_llama2c(const std::string& path, const std::string& tokenizer_path,
                  ConvertSource& source) {
  const auto file = Llama2cFile::open(path);
  const auto& shape = file->config();
  std::int64_t bos_id = 1, eos_id = 2;  // Llama's
  if (!tokenizer_path.empty()) {
    const auto tokenizer = tokenizers::open_tokenizer(tokenizer_path);
    if (tokenizer->vocab_size() != shape.vocab_size) {
      throw ConfigError(fmt::format(
          "tokenizer: {} has {} pieces, the vocabulary of {} has {}; they do not belong together",
          tokenizer_path, tokenizer->vocab_size(), path, shape.vocab_size));
    }
    bos_id = tokenizer->bos_id().value_or(bos_id);
    eos_id = tokenizer->eos_id().value_or(eos_id);
    source.files["tokenizer_config.json"] = dump_json({{"add_bos_token", true},
                                                       {"add_eos_token", false},
                                                       {"model_max_length", shape.max_context},
                                                       {"tokenizer_class", "LlamaTokenizer"}});
  }
  source.format = "llama2.c file";
  source.config = std::make_shared<const Json>(llama2c_config(shape, bos_id, eos_id));
  source.archive = file;
  source.meta.base_model = fs::path(path).stem().string();
  // llama2.c trains on texts that only the start token separates, and its program stops at that
  // token. Both tokens therefore end a text.
  source.files["generation_config.json"] =
      dump_json({{"bos_token_id", bos_id}, {"eos_token_id", {eos_id, bos_id}}});
  LayoutFitter(source, model_parameters(*source.config, path)).fit([](const std::string& name) {
    return name;
  });
}

void open_state_spaces(const std::string& folder, const Json& config, ConvertSource& source) {
  const std::string config_path = (fs::path(folder) / "config.json").string();
  source.format = "state-spaces folder";
  source.config = std::make_shared<const Json>(state_spaces_to_hugging_face(config, config_path));
  source.archive = open_weights_folder(folder);
  source.files = read_side_files(folder);
  LayoutFitter(source, model_parameters(*source.config, config_path)).fit(state_spaces_name);
}

void open_file(const std::string& path, const std::string& tokenizer_path, ConvertSource& source) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  const auto has_at = [&](std::size_t at, std::string_view magic) {
    return bytes.size() >= at + magic.size() &&
           std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
  };
  const bool is_safetensors = has_at(8, "{");  // the header, after its length
  if (has_at(0, "GGUF")) {
    open_gguf(path, source);
  } else if (looks_like_torch_file(bytes) || is_safetensors) {
    const std::string folder = fs::path(path).parent_path().string();
    if (const auto hint = foreign_folder_hint(folder.empty() ? "." : folder)) {
      throw ConfigError(*hint);
    }
    throw ConfigError(path +
                      ": holds weights alone; convert the folder with its config.json instead");
  } else {
    open_llama2c(path, tokenizer_path, source);
  }
}

void open_folder(const std::string& path, ConvertSource& source) {
  if (fs::exists(fs::path(path) / "adapter_config.json")) {
    throw ConfigError(path +
                      ": is an adapter folder, which this version does not convert; merge "
                      "it into its base model with PEFT first");
  }
  const std::string folder = resolve_checkpoint(path);
  const Json config = read_json((fs::path(folder) / "config.json").string());
  if (is_state_spaces_config(config)) {
    open_state_spaces(folder, config, source);
  } else {
    open_hugging_face(folder, source);
  }
  if (source.meta.base_model.empty()) {
    source.meta.base_model = fs::weakly_canonical(folder).filename().string();
  }
}

}  // namespace

bool ConvertSource::has_tokenizer() const {
  return std::any_of(files.begin(), files.end(), [](const auto& file) {
    const auto& name = file.first;
    return name == "tokenizer.json" || name == "tokenizer.model" || name == "vocab.txt" ||
           name == "vocab.json";
  });
}

ConvertSource open_convert_source(const std::string& path, const std::string& tokenizer_path) {
  ConvertSource source;
  if (fs::is_directory(path)) {
    open_folder(path, source);
  } else {
    open_file(path, tokenizer_path, source);
  }
  if (!tokenizer_path.empty()) {
    if (source.has_tokenizer()) {
      throw ConfigError("tokenizer: " + path + " brings its own; leave --tokenizer out");
    }
    const auto vocab_size = source.config->at("vocab_size").get<std::int64_t>();
    source.files.merge(tokenizer_files(tokenizer_path, vocab_size, path));
  }
  return source;
}

}  // namespace lowbank
