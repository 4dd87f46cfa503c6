#include "models/factory.h"

#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/memory.h"
#include "io/checkpoint_folder.h"
#include "io/model_layout.h"
#include "io/state_spaces.h"
#include "models/bert.h"
#include "models/language_model.h"
#include "models/llama.h"
#include "models/mamba.h"
#include "models/weights.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::shared_ptr<LanguageModel> build_family(const Json& config, const std::string& source,
                                            Weights& weights) {
  const JsonReader reader(config, source);
  const std::string type = reader.text("model_type", "");
  if (type == "llama") {
    return std::make_shared<LlamaModel>(read_llama_config(config, source), config, weights);
  }
  if (type == "bert") {
    return std::make_shared<BertModel>(read_bert_config(config, source), config, weights);
  }
  if (type == "mamba") {
    return std::make_shared<MambaModel>(read_mamba_config(config, source), config, weights);
  }
  reader.refuse("model_type", "llama, bert, mamba");
}

std::shared_ptr<LanguageModel> build_model(const Json& config, const std::string& source,
                                           Weights& weights) {
  auto model = build_family(config, source, weights);
  model->set_slots(weights.take_slots());
  return model;
}

constexpr std::pair<c10::ScalarType, const char*> kTypeNames[] = {
    {c10::kFloat, "float32"}, {c10::kBFloat16, "bfloat16"}, {c10::kHalf, "float16"}};

// transformers 5 writes `dtype`, version 4 `torch_dtype`.
std::string type_key(const Json& config) {
  return config.contains("dtype") ? "dtype" : "torch_dtype";
}

// config.json as transformers reads it: the type of the stored values and the class to load.
Json config_to_write(const LanguageModel& model) {
  Json config = model.config();
  const auto stored = model.parameters().front().scalar_type();
  for (const auto& [type, name] : kTypeNames) {
    if (type == stored) config[type_key(config)] = name;
  }
  return config;
}

}  // namespace

LoadedModel load_model(const std::string& path, c10::Device device, c10::ScalarType type) {
  LoadedModel loaded;
  loaded.folder = resolve_checkpoint(path);
  const std::string config_path = (fs::path(loaded.folder) / "config.json").string();
  Json config = read_json(config_path);
  const bool is_original_mamba = is_state_spaces_config(config);
  if (is_original_mamba) config = state_spaces_to_hugging_face(config, config_path);
  loaded.meta = read_checkpoint_meta(loaded.folder);
  FileWeights weights(loaded.folder, loaded.meta, device, type,
                      is_original_mamba ? state_spaces_name : current_name);
  if (device.is_cpu()) require_memory(weights.loaded_bytes(), "loading " + loaded.folder);
  loaded.model = build_model(config, config_path, weights);
  weights.finish();
  loaded.model->eval();
  return loaded;
}

LoadedModel load_causal_model(const std::string& path, c10::Device device, c10::ScalarType type) {
  auto loaded = load_model(path, device, type);
  if (loaded.model->head_kind() != HeadKind::kNextToken) {
    const auto kind = loaded.model->config().value("model_type", std::string());
    throw ConfigError(fmt::format(
        "{}: a {} model does not predict the next token; this command wants a causal language "
        "model (`lowbank logits` runs any)",
        path, kind));
  }
  return loaded;
}

c10::ScalarType stored_type(const std::string& path) {
  const std::string config_path = (fs::path(resolve_checkpoint(path)) / "config.json").string();
  const Json config = read_json(config_path);
  const JsonReader reader(config, config_path);
  const std::string stored = reader.text(type_key(config), "float32");
  for (const auto& [type, name] : kTypeNames) {
    if (name == stored) return type;
  }
  reader.refuse(type_key(config), "float32, bfloat16, float16");
}

std::shared_ptr<LanguageModel> make_random_model(const Json& config, const RandomKey& key,
                                                 c10::Device device, c10::ScalarType type) {
  const double deviation = JsonReader(config, "config").positive("initializer_range", 0.02);
  RandomWeights weights(key, deviation, device, type);
  return build_model(config, "config", weights);
}

void save_model(const std::string& folder, const LoadedModel& loaded, const HistoryEntry& entry) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& parameters :
       {base_parameters(*loaded.model), adapter_parameters(*loaded.model)}) {
    tensors.insert(parameters.begin(), parameters.end());
  }
  CheckpointMeta meta = loaded.meta;
  meta.linears.clear();
  const LayerRecord dense{.kind = "dense"};
  for (const auto& slot : loaded.model->slots()) {
    auto record = slot.record();
    if (record.layers != std::vector{dense}) meta.linears.push_back(std::move(record));
  }
  meta.history.push_back(entry);

  CheckpointWriter writer(folder);
  write_tensors(writer.staging_path("model.safetensors"), tensors);
  write_checkpoint_meta(writer.staging_folder(), meta);
  write_file(writer.staging_path("config.json"), dump_json(config_to_write(*loaded.model)));
  if (!loaded.folder.empty()) copy_side_files(loaded.folder, writer.staging_folder());
  writer.publish();
}

}  // namespace lowbank
