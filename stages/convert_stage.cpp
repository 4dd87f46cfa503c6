#include "stages/convert_stage.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "config/results/convert_metrics.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "io/checkpoint_folder.h"
#include "io/gguf_model.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"
#include "io/sentence_encoder.h"
#include "tokenizers/tokenizer_files.h"
#include "tools/convert/convert_source.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxListed = 20;

// The type that a tensor gets in a checkpoint folder.
ElementType folder_type(const ConvertConfig& config, ElementType stored) {
  if (config.dtype == "f32") return ElementType::kF32;
  if (config.dtype == "bf16") return ElementType::kBf16;
  if (config.dtype == "f16") return ElementType::kF16;
  return is_quantized(stored) ? ElementType::kF32 : stored;
}

constexpr std::pair<ElementType, const char*> kTorchNames[] = {{ElementType::kF32, "float32"},
                                                               {ElementType::kBf16, "bfloat16"},
                                                               {ElementType::kF16, "float16"},
                                                               {ElementType::kF64, "float64"}};

/// Counts tensors on the progress line, and throws Interrupted after Ctrl-C, before any file is put
/// into place.
class TensorProgress {
 public:
  explicit TensorProgress(std::size_t total)
      : bar_("convert", static_cast<std::int64_t>(total), "tensor") {}
  void next(const std::string& name) {
    if (interrupt_requested()) {
      throw Interrupted("stopped; nothing was written: run the same command again");
    }
    bar_.update(done_++, name);
  }

 private:
  ProgressBar bar_;
  std::int64_t done_ = 0;
};

/// Tensors cut into files of at most `max_bytes` each (one larger tensor has a file of its own).
std::vector<std::vector<TensorEntry>> split_shards(std::vector<TensorEntry> tensors,
                                                   std::int64_t max_bytes) {
  std::vector<std::vector<TensorEntry>> shards(1);
  std::uint64_t size = 0;
  for (auto& tensor : tensors) {
    if (!shards.back().empty() &&
        size + tensor.size_bytes > static_cast<std::uint64_t>(max_bytes)) {
      shards.emplace_back();
      size = 0;
    }
    size += tensor.size_bytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

/// model.safetensors, or shards and their index; names and index as transformers writes them.
void write_weights(const ConvertSource& source, const std::vector<TensorEntry>& tensors,
                   std::int64_t max_shard_bytes, const CheckpointWriter& writer) {
  std::map<std::string_view, const MappedTensor*> origins;
  for (const auto& tensor : source.tensors) origins[tensor.name] = &tensor;
  const auto shards = split_shards(tensors, max_shard_bytes);
  TensorProgress progress(tensors.size());
  Json weight_map = Json::object();
  std::uint64_t total_size = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    SafetensorsWriter file(writer.staging_path(name), shards[i]);
    for (const auto& tensor : file.order()) {
      progress.next(tensor.name);
      stream_tensor(*source.archive, *origins.at(tensor.name), tensor.type,
                    [&](std::span<const std::byte> bytes) { file.write(bytes); });
      weight_map[tensor.name] = name;
      total_size += tensor.size_bytes;
    }
    file.commit();
  }
  if (shards.size() > 1) {
    write_file(writer.staging_path("model.safetensors.index.json"),
               dump_json({{"metadata", {{"total_size", total_size}}}, {"weight_map", weight_map}}));
  }
}

/// The result's tensors as a checkpoint folder holds them, in the source's order.
std::vector<TensorEntry> folder_tensors(const ConvertConfig& config, const ConvertSource& source) {
  std::vector<TensorEntry> tensors;
  for (const auto& tensor : source.tensors) {
    const ElementType type = folder_type(config, tensor.stored_type());
    tensors.push_back({.name = tensor.name,
                       .type = type,
                       .shape = tensor.shape,
                       .size_bytes = tensor_bytes(type, tensor.shape).value()});
  }
  return tensors;
}

// Writes the type that most of the values have into config.json; transformers loads all values in
// it.
void name_type(Json& config, const std::vector<TensorEntry>& tensors) {
  std::map<ElementType, std::uint64_t> sizes;
  for (const auto& tensor : tensors) sizes[tensor.type] += tensor.size_bytes;
  const auto largest = std::max_element(
      sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const auto& [type, name] : kTorchNames) {
    if (type == largest->first) config[config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
  }
}

void write_folder(const ConvertConfig& config, const ConvertSource& source,
                  const std::vector<TensorEntry>& tensors, RunDir& out) {
  CheckpointMeta meta = source.meta;
  meta.history.push_back(
      {.stage = "convert",
       .settings_hash = stage_fingerprint(config, Json::object()).value("settings", ""),
       .version = version()});
  Json model = *source.config;
  name_type(model, tensors);

  out.lock();
  CheckpointWriter writer(out.path());
  write_weights(source, tensors, config.max_shard_bytes, writer);
  for (const auto& [name, content] : source.files) write_file(writer.staging_path(name), content);
  write_checkpoint_meta(writer.staging_folder(), meta);
  write_file(writer.staging_path("config.json"), dump_json(model));
  out.begin();  // only now is an earlier output touched
  writer.publish();
}

// The type that a tensor gets in a GGUF file.
ElementType gguf_type(const ConvertConfig& config, const std::string& architecture,
                      const MappedTensor& tensor, const std::string& name) {
  if (stays_f32(architecture, name, tensor.shape)) return ElementType::kF32;
  if (config.dtype != "q8_0" && config.dtype != "q4_0") {
    const ElementType type = folder_type(config, tensor.stored_type());
    return type == ElementType::kF64 ? ElementType::kF32 : type;
  }
  const auto type = config.dtype == "q8_0" ? ElementType::kQ80 : ElementType::kQ40;
  // llama.cpp falls back in the same way if a row is not a whole number of blocks.
  return tensor.shape.back() % block_elements(type) == 0 ? type : ElementType::kF16;
}

// What a sentence encoder's folder says about pooling, as llama.cpp numbers it: 1 mean, 2 the first
// token.
void name_pooling(const std::string& src, GgufKeys& keys) {
  const auto key = std::ranges::find(keys, "bert.pooling_type", &GgufKeys::value_type::first);
  if (key == keys.end() || !fs::is_directory(src)) return;
  const auto encoder = read_sentence_encoder(resolve_checkpoint(src));
  if (!encoder) return;
  if (encoder->pooling == SentenceEncoder::Pooling::kMax) {
    throw ConfigError(src + "/" + std::string(kModulesFile) +
                      ": GGUF has no name for a pooling of the largest values");
  }
  key->second = std::uint32_t{encoder->pooling == SentenceEncoder::Pooling::kCls ? 2U : 1U};
}

/// Writes the model and its tokenizer as one GGUF file; returns its tensors. Parameters that GGUF
/// has no place for are moved to source.dropped.
std::vector<TensorEntry> write_gguf(const ConvertConfig& config, ConvertSource& source,
                                    const std::string& path, RunDir* out) {
  if (!source.meta.linears.empty()) {
    throw ConfigError(
        fmt::format("to: GGUF has no place for the factored layer '{}'; make it "
                    "dense first: lowbank compress {} OUT --to dense",
                    source.meta.linears.front().path, config.src));
  }
  const Json& model = *source.config;
  const std::string architecture = model.at("model_type").get<std::string>();
  if (!has_gguf(architecture)) {
    throw ConfigError(fmt::format("to: no GGUF file holds a model of type '{}'", architecture));
  }
  std::vector<MappedTensor> kept;
  std::vector<TensorEntry> tensors;
  std::map<ElementType, std::uint64_t> sizes;
  for (auto& tensor : source.tensors) {
    const auto name = gguf_name(architecture, tensor.name);
    if (!name) {
      source.dropped.emplace_back(tensor.name, "GGUF has no place for it");
      continue;
    }
    // The transform that reads a tensor from a GGUF source is undone when it is written to GGUF.
    tensor.transform =
        tensor.transform.is_identity() ? transform_to_gguf(model, tensor.name) : TensorTransform();
    auto shape = tensor.shape;
    if (shape.size() == 3) shape = {shape.front(), shape.back()};  // a convolution's [D, 1, W]
    const ElementType type = gguf_type(config, architecture, tensor, *name);
    tensors.push_back({.name = *name, .type = type, .shape = std::move(shape)});
    sizes[type] += tensor_bytes(type, tensor.shape).value();
    kept.push_back(tensor);
  }
  const auto largest = std::max_element(
      sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  GgufKeys keys = gguf_model_keys(model, config.src, source.meta.base_model, largest->first);
  for (auto& key : tokenizers::gguf_tokenizer_keys(source.files, model, config.src)) {
    keys.push_back(std::move(key));
  }
  name_pooling(config.src, keys);
  const std::vector<float> divisors = gguf_rope_divisors(model);
  if (!divisors.empty()) {
    tensors.push_back({.name = "rope_freqs.weight",
                       .type = ElementType::kF32,
                       .shape = {static_cast<std::int64_t>(divisors.size())}});
  }
  if (out != nullptr) out->lock();  // the file lies in its folder before begin() looks into it
  GgufWriter file(path, keys, tensors);
  TensorProgress progress(kept.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    progress.next(kept[i].name);
    stream_tensor(*source.archive, kept[i], tensors[i].type,
                  [&](std::span<const std::byte> bytes) { file.write(bytes); });
  }
  if (!divisors.empty()) file.write(std::as_bytes(std::span(divisors)));
  if (out != nullptr) out->begin();
  file.commit();
  return file.order();
}

void print_names(const std::string& what, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  lowbank::print("  {} {}", lines.size(), what);
  for (std::size_t i = 0; i < std::min(lines.size(), kMaxListed); ++i) {
    lowbank::print("    {}", lines[i]);
  }
  if (lines.size() > kMaxListed) lowbank::print("    and {} more", lines.size() - kMaxListed);
}

void report(const std::string& place, const ConvertSource& source,
            const std::vector<TensorEntry>& tensors, Metrics& metrics) {
  std::int64_t num_params = 0;
  std::int64_t num_bytes = 0;
  for (const auto& tensor : tensors) {
    num_params += count_elements(tensor.shape).value();
    num_bytes += static_cast<std::int64_t>(tensor.size_bytes);
  }
  ConvertMetrics figures{.format = source.format,
                         .num_tensors = tensors.size(),
                         .num_params = num_params,
                         .num_bytes = num_bytes,
                         .num_mapped = tensors.size(),
                         .missing = source.absent};
  std::vector<std::string> lines;
  for (const auto& [name, why] : source.dropped) {
    figures.dropped.push_back({.name = name, .reason = why});
    lines.push_back(fmt::format("{}: {}", name, why));
  }
  metrics = to_json(figures.fields());
  lowbank::print("{}: {} tensors of a {}, {} parameters, {}", place,
                 group_digits(static_cast<std::int64_t>(tensors.size())), source.format,
                 group_digits(num_params), format_bytes(static_cast<std::uint64_t>(num_bytes)));
  print_names("dropped", lines);
  print_names("optional and missing", source.absent);
}

}  // namespace

void convert_stage(const ConvertConfig& config, RunDir* out, Metrics& metrics) {
  ConvertSource source = open_convert_source(config.src, config.tokenizer);
  if (config.to_gguf()) {
    const std::string path = out == nullptr ? config.common.out : out->path("model.gguf");
    const auto tensors = write_gguf(config, source, path, out);
    report(path, source, tensors, metrics);
  } else {
    const auto tensors = folder_tensors(config, source);
    write_folder(config, source, tensors, *out);
    report(out->path(), source, tensors, metrics);
  }
  if (!source.has_tokenizer()) {
    warn(
        "no --tokenizer given, and {} brings none: commands that read or write text will not work "
        "with the result",
        config.src);
  }
}

}  // namespace lowbank
