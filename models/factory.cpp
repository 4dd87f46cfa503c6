#include "models/factory.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/memory.h"
#include "io/checkpoint_folder.h"
#include "io/families/families.h"
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

template <class Model, auto read_config>
std::shared_ptr<LanguageModel> build(const Json& config, const std::string& source,
                                     Weights& weights) {
  return std::make_shared<Model>(read_config(config, source), config, weights);
}

// The only list of models; what a family's files hold is said in io/families.
struct ModelBuilder {
  std::string_view model_type;
  std::shared_ptr<LanguageModel> (*build)(const Json& config, const std::string& source,
                                          Weights& weights);
};
constexpr ModelBuilder kModels[] = {
    {"llama", build<LlamaModel, read_llama_config>},
    {"bert", build<BertModel, read_bert_config>},
    {"mamba", build<MambaModel, read_mamba_config>},
};

std::shared_ptr<LanguageModel> build_model(const Json& config, const std::string& source,
                                           Weights& weights) {
  const ModelFamily& family = family_of(config, source);
  const auto* const found = std::find_if(
      std::begin(kModels), std::end(kModels),
      [&](const ModelBuilder& builder) { return builder.model_type == family.model_type; });
  TORCH_INTERNAL_ASSERT(found != std::end(kModels), "no model computes ", family.model_type);
  weights.set_parameters(family.parameters(
      config, source, [&](const std::string& name) { return weights.has(name); }));
  auto model = found->build(config, source, weights);
  model->set_slots(weights.take_slots());
  return model;
}

struct TypeName {
  c10::ScalarType type;
  ElementType stored;
  const char* name;  // config.json's
};
constexpr TypeName kTypeNames[] = {{c10::kFloat, ElementType::kF32, "float32"},
                                   {c10::kBFloat16, ElementType::kBf16, "bfloat16"},
                                   {c10::kHalf, ElementType::kF16, "float16"}};

// transformers 5 writes `dtype`, version 4 `torch_dtype`.
std::string type_key(const Json& config) {
  return config.contains("dtype") ? "dtype" : "torch_dtype";
}

// config.json as transformers reads it: the class to load and the type of most of the values.
Json config_to_write(const LanguageModel& model,
                     const std::map<std::string, torch::Tensor>& tensors) {
  Json config = model.config();
  std::map<c10::ScalarType, std::size_t> sizes;
  for (const auto& [name, tensor] : tensors) sizes[tensor.scalar_type()] += tensor.nbytes();
  const auto most =
      std::ranges::max_element(sizes, {}, [](const auto& size) { return size.second; });
  for (const auto& known : kTypeNames) {
    if (known.type == most->first) config[type_key(config)] = known.name;
  }
  return config;
}

// What a checkpoint folder says of itself.
struct Description {
  std::string folder;
  std::string config_path;
  Json config;
  CheckpointMeta meta;
  std::function<std::string(const std::string&)> rename;  // of parameters, to today's names
};

Description read_description(const std::string& path) {
  Description out;
  out.folder = resolve_checkpoint(path);
  out.config_path = (fs::path(out.folder) / "config.json").string();
  out.config = read_json(out.config_path);
  const bool is_original_mamba = is_state_spaces_config(out.config);
  if (is_original_mamba) out.config = state_spaces_to_hugging_face(out.config, out.config_path);
  out.meta = read_checkpoint_meta(out.folder);
  out.rename = is_original_mamba ? state_spaces_name : current_name;
  return out;
}

LoadedModel build_described(const Description& description, FileWeights& weights,
                            c10::Device device) {
  if (device.is_cpu()) require_memory(weights.loaded_bytes(), "loading " + description.folder);
  LoadedModel loaded{.model = build_model(description.config, description.config_path, weights),
                     .folder = description.folder,
                     .meta = description.meta};
  weights.finish();
  loaded.model->eval();
  return loaded;
}

LoadedModel load_described(const Description& description, c10::Device device,
                           c10::ScalarType type) {
  FileWeights weights(description.folder, description.meta, device, type, description.rename);
  return build_described(description, weights, device);
}

double initializer_range(const Json& config, const std::string& source) {
  return JsonReader(config, source).positive("initializer_range", 0.02);
}

// Names as they are below a head: files of BertModel have none in front.
std::string with_bert_prefix(const std::string& name) {
  const bool has_prefix = name.starts_with("bert.") || name.starts_with("cls.");
  return has_prefix ? name : "bert." + name;
}

// The labels of a config.json by number, where it names them.
std::vector<std::string> label_names(const Json& config) {
  std::vector<std::string> names;
  const Json labels = config.value("id2label", Json::object());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto found = labels.find(std::to_string(i));
    names.push_back(found != labels.end() && found->is_string() ? found->get<std::string>() : "");
  }
  return names;
}

}  // namespace

LoadedModel load_model(const std::string& path, c10::Device device, c10::ScalarType type) {
  return load_described(read_description(path), device, type);
}

LoadedModel load_classifier(const std::string& path, const std::vector<std::string>& labels,
                            const RandomKey& key, c10::Device device, c10::ScalarType type) {
  auto description = read_description(path);
  auto& config = description.config;
  const JsonReader reader(config, description.config_path);
  if (const auto kind = reader.text("model_type", ""); kind != "bert") {
    throw ConfigError(fmt::format(
        "{}: objective classification needs an encoder (BERT); this is a {} model", path, kind));
  }
  const auto bert = read_bert_config(config, description.config_path);
  if (bert.head == BertHead::kSequenceClassifier) {
    return load_described(description, device, type);
  }
  config["architectures"] = {"BertForSequenceClassification"};
  config.erase("num_labels");
  config["id2label"] = config["label2id"] = Json::object();
  const auto names = labels.empty() ? std::vector<std::string>{"LABEL_0"} : labels;
  for (std::size_t i = 0; i < names.size(); ++i) {
    config["id2label"][std::to_string(i)] = names[i];
    config["label2id"][names[i]] = i;
  }
  config["problem_type"] = labels.empty() ? "regression" : "single_label_classification";

  for (auto& linear : description.meta.linears) linear.path = with_bert_prefix(linear.path);
  FileWeights weights(description.folder, description.meta, device, type,
                      [](const std::string& name) { return with_bert_prefix(current_name(name)); });
  RandomWeights fresh(key, initializer_range(config, description.config_path), device, type);
  weights.leave_out("cls");
  weights.fill_in("classifier", fresh);
  weights.fill_in("bert.pooler", fresh);
  return build_described(description, weights, device);
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

void check_labels(const LoadedModel& loaded, const std::vector<std::string>& labels) {
  const auto& config = loaded.model->config();
  const auto num_labels = read_bert_config(config, loaded.folder).num_labels;
  if (num_labels != std::max<std::int64_t>(1, static_cast<std::int64_t>(labels.size()))) {
    throw ConfigError(fmt::format(
        "{}: its classifier has {} outputs, but the table has {}; table.classes lists the class of "
        "each output, and a checkpoint without a classifier gets one that fits",
        loaded.folder, num_labels,
        labels.empty() ? std::string("numbers as labels")
                       : fmt::format("{} classes", labels.size())));
  }
  const auto names = label_names(config);
  if (names != labels &&
      std::is_permutation(names.begin(), names.end(), labels.begin(), labels.end())) {
    throw ConfigError(fmt::format("table.classes: {} has them in the order {}; got {}",
                                  loaded.folder, fmt::join(names, ", "), fmt::join(labels, ", ")));
  }
}

StoredTypes::StoredTypes(const std::string& path) {
  const Description description = read_description(path);
  const auto archive = open_weights_folder(description.folder);
  for (const auto& entry : archive->entries()) {
    num_bytes_ += entry.size_bytes;
    const auto known = std::ranges::find(kTypeNames, entry.type, &TypeName::stored);
    const Tensor tensor{known == std::end(kTypeNames) ? c10::kFloat : known->type,
                        entry.size_bytes};
    const std::string name = description.rename(entry.name);
    tensors_.insert_or_assign(name, tensor);
    for (auto dot = name.rfind('.'); dot != std::string::npos && dot > 0;
         dot = name.rfind('.', dot - 1)) {
      keep_larger(name.substr(0, dot), tensor);
    }
  }
}

void StoredTypes::keep_larger(const std::string& name, Tensor tensor) {
  const auto [found, is_new] = tensors_.try_emplace(name, tensor);
  if (!is_new && tensor.size_bytes > found->second.size_bytes) found->second = tensor;
}

c10::ScalarType StoredTypes::of(const std::string& name) const {
  std::string place = name;
  while (true) {
    if (const auto found = tensors_.find(place); found != tensors_.end()) return found->second.type;
    const auto dot = place.rfind('.');
    if (dot == std::string::npos) return c10::kFloat;
    place.resize(dot);
  }
}

c10::ScalarType stored_type(const std::string& path) {
  const std::string folder = resolve_checkpoint(path);
  std::map<ElementType, std::uint64_t> sizes;
  for (const auto& entry : open_weights_folder(folder)->entries()) {
    if (is_float(entry.type)) sizes[entry.type] += entry.size_bytes;
  }
  const auto most =
      std::ranges::max_element(sizes, {}, [](const auto& size) { return size.second; });
  if (most == sizes.end()) throw IoError(folder + ": holds no weights");
  const auto known = std::ranges::find(kTypeNames, most->first, &TypeName::stored);
  if (known == std::end(kTypeNames)) {
    throw ConfigError(fmt::format("{}: the weights are of type {}; supported: F32, BF16, F16",
                                  folder, element_type_name(most->first)));
  }
  return known->type;
}

std::shared_ptr<LanguageModel> make_random_model(const Json& config, const RandomKey& key,
                                                 c10::Device device, c10::ScalarType type) {
  RandomWeights weights(key, initializer_range(config, "config"), device, type);
  return build_model(config, "config", weights);
}

void save_model(const std::string& folder, const LoadedModel& loaded, const HistoryEntry& entry,
                const std::function<c10::ScalarType(const std::string&)>& type_of) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& parameters :
       {base_parameters(*loaded.model), adapter_parameters(*loaded.model)}) {
    for (const auto& [name, tensor] : parameters) {
      const auto stored = type_of ? tensor.detach().to(type_of(name)) : tensor;
      TORCH_CHECK(tensors.emplace(name, stored).second,
                  "save_model: two layers of one slot hold a parameter '", name, "'");
    }
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
  write_file(writer.staging_path("config.json"),
             dump_json(config_to_write(*loaded.model, tensors)));
  if (!loaded.folder.empty()) copy_side_files(loaded.folder, writer.staging_folder());
  writer.publish();
}

}  // namespace lowbank
