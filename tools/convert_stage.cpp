#include "tools/convert_stage.h"

#include <cmath>
#include <filesystem>
#include <list>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "data/tokenizer.h"
#include "io/checkpoint_folder.h"
#include "io/checkpoint_meta.h"
#include "io/llama2c.h"
#include "io/safetensors.h"
#include "kernels/runtime.h"
#include "models/factory.h"
#include "models/language_model.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

HistoryEntry history_entry(ConvertConfig config) {
  return {.stage = "convert",
          .settings_hash = stage_fingerprint(config, Json::object()).value("settings", ""),
          .version = version()};
}

// What transformers 4.57 writes for a LlamaForCausalLM of this shape.
// Source of the values that a llama2.c file does not hold: karpathy/llama2.c, run.c (rmsnorm adds
// 1e-5, rotations use the base 10000, silu).
Json llama_config(const Llama2cConfig& c, std::int64_t bos_id, std::int64_t eos_id) {
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

void check_finite(const Llama2cTensor& tensor, const std::string& path) {
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    if (!std::isfinite(tensor.values[i])) {
      throw IoError(
          fmt::format("{}: damaged: value {} of {} is {}", path, i, tensor.name, tensor.values[i]));
    }
  }
}

void write_weights(const Llama2cFile& file, const std::string& path) {
  std::list<std::vector<float>> reordered;  // a list: growing it moves nothing
  std::vector<TensorToWrite> tensors;
  for (const auto& tensor : file.tensors()) {
    auto values = tensor.values;
    if (tensor.num_rope_heads > 0) {
      values = reordered.emplace_back(
          rope_half_split(values, tensor.num_rope_heads, file.config().head_dim()));
    }
    tensors.push_back({.name = tensor.name,
                       .type = ElementType::kF32,
                       .shape = tensor.shape,
                       .bytes = std::as_bytes(values)});
  }
  write_safetensors(path, std::move(tensors));
}

void report(const std::string& format, std::size_t num_tensors, std::int64_t num_params,
            std::int64_t num_bytes, const RunDir& out, Metrics& metrics) {
  metrics = {{"format", format},
             {"num_tensors", num_tensors},
             {"num_params", num_params},
             {"num_bytes", num_bytes}};
  lowbank::print("{}: {} tensors of a {}, {} parameters, {}", out.path(),
                 group_digits(static_cast<std::int64_t>(num_tensors)), format,
                 group_digits(num_params), format_bytes(static_cast<std::uint64_t>(num_bytes)));
}

void convert_llama2c(const ConvertConfig& config, RunDir& out, Metrics& metrics) {
  const auto file = Llama2cFile::open(config.src);
  const auto& shape = file->config();
  std::int64_t num_params = 0;
  for (const auto& tensor : file->tensors()) {
    check_finite(tensor, config.src);
    num_params += static_cast<std::int64_t>(tensor.values.size());
  }
  std::string tokenizer_bytes;
  std::int64_t bos_id = 1, eos_id = 2;  // Llama's
  if (config.tokenizer.empty()) {
    warn("no --tokenizer given: commands that read or write text will not work with {}",
         out.path());
  } else {
    const auto tokenizer = open_tokenizer(config.tokenizer);
    if (tokenizer->vocab_size() != shape.vocab_size) {
      throw ConfigError(fmt::format(
          "tokenizer: {} has {} pieces, the vocabulary of {} has {}; they do not belong "
          "together",
          config.tokenizer, tokenizer->vocab_size(), config.src, shape.vocab_size));
    }
    tokenizer_bytes = read_bytes(config.tokenizer);
    bos_id = tokenizer->bos_id().value_or(bos_id);
    eos_id = tokenizer->eos_id().value_or(eos_id);
  }
  const HistoryEntry history = history_entry(config);
  out.begin();

  CheckpointWriter writer(out.path());
  write_weights(*file, writer.staging_path("model.safetensors"));
  // llama2.c trains on texts that are set apart by the start token alone, and its program stops at
  // one: both tokens end a text.
  write_file(writer.staging_path("generation_config.json"),
             dump_json({{"bos_token_id", bos_id}, {"eos_token_id", {eos_id, bos_id}}}));
  if (!tokenizer_bytes.empty()) {
    write_file(writer.staging_path("tokenizer.model"), tokenizer_bytes);
    write_file(writer.staging_path("tokenizer_config.json"),
               dump_json({{"add_bos_token", true},
                          {"add_eos_token", false},
                          {"model_max_length", shape.max_context},
                          {"tokenizer_class", "LlamaTokenizer"}}));
  }
  write_checkpoint_meta(
      writer.staging_folder(),
      {.base_model = fs::path(config.src).stem().string(), .linears = {}, .history = {history}});
  write_file(writer.staging_path("config.json"), dump_json(llama_config(shape, bos_id, eos_id)));
  writer.publish();
  report("llama2.c file", file->tensors().size(), num_params,
         num_params * static_cast<std::int64_t>(sizeof(float)), out, metrics);
}

void convert_folder(const ConvertConfig& config, RunDir& out, Metrics& metrics) {
  if (!config.tokenizer.empty()) {
    throw ConfigError("tokenizer: is for a llama2.c file; a Hugging Face folder brings its own");
  }
  const std::string folder = resolve_checkpoint(config.src);
  // In the type it is stored in: conversion changes no value.
  auto loaded = load_model(folder, c10::kCPU, stored_type(folder));
  if (loaded.meta.base_model.empty()) {
    loaded.meta.base_model = fs::weakly_canonical(folder).filename().string();
  }
  if (!has_tokenizer(folder)) {
    warn(
        "{} holds no tokenizer that is supported (tokenizer.model): commands that read or write "
        "text will not work",
        folder);
  }
  const HistoryEntry history = history_entry(config);
  out.begin();
  save_model(out.path(), loaded, history);
  std::int64_t num_bytes = 0;
  const auto parameters = loaded.model->parameters();  // a tied one stands here once
  for (const auto& parameter : parameters) {
    num_bytes += static_cast<std::int64_t>(parameter.nbytes());
  }
  report("Hugging Face folder", parameters.size(), count_parameters(*loaded.model), num_bytes, out,
         metrics);
}

}  // namespace

void convert_stage(const ConvertConfig& config, RunDir* out, Metrics& metrics) {
  apply_runtime(config.common);
  if (fs::is_directory(config.src)) {
    convert_folder(config, *out, metrics);
  } else {
    convert_llama2c(config, *out, metrics);
  }
}

}  // namespace lowbank
