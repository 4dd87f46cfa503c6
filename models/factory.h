#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <nlohmann/json_fwd.hpp>

#include "core/philox.h"
#include "io/checkpoint_meta.h"

namespace lowbank {

class LanguageModel;

/// A model with what its checkpoint folder says about it.
struct LoadedModel {
  std::shared_ptr<LanguageModel> model;
  std::string folder;  ///< the resolved checkpoint folder
  CheckpointMeta meta;
};

/// Builds the model that `path` (checkpoint or run folder) describes, puts factored linears in
/// their slots, and loads every tensor. Errors: IoError for missing, extra (all listed, at most 20)
/// or wrongly shaped tensors and for values that are not finite; ConfigError for a config value
/// that changes the result and is not supported, naming the key; ResourceError when the weights
/// would not fit into memory.
LoadedModel load_model(const std::string& path, c10::Device device = c10::kCPU,
                       c10::ScalarType type = c10::kFloat);

/// load_model for stages that predict the next token. Errors: also ConfigError for a model that
/// does not (an encoder).
LoadedModel load_causal_model(const std::string& path, c10::Device device = c10::kCPU,
                              c10::ScalarType type = c10::kFloat);

/// load_model for a model that judges whole sequences, into one of `labels` (none: with a number).
///
/// An encoder without such a head gets one: a classifier drawn from `key`, and a pooler if it has
/// none; another head is left out. config.json then names the labels as transformers does.
/// Errors: also ConfigError for a model that is no encoder.
LoadedModel load_classifier(const std::string& path, const std::vector<std::string>& labels,
                            const RandomKey& key, c10::Device device = c10::kCPU,
                            c10::ScalarType type = c10::kFloat);

/// Errors: ConfigError when the model's classifier has another number of labels (one for numbers),
/// or names the same labels in another order.
void check_labels(const LoadedModel& loaded, const std::vector<std::string>& labels);

/// The types in which a checkpoint's files hold its tensors.
class StoredTypes {
 public:
  /// Errors: IoError.
  explicit StoredTypes(const std::string& path);

  /// For the parameter `name`, in today's names. A parameter that is not in the files (a factor of a
  /// layer that was dense) is of the type of its module's largest tensor, or of the next module
  /// around it. float32 for types that no model is computed in.
  c10::ScalarType of(const std::string& name) const;
  std::uint64_t num_bytes() const { return num_bytes_; }

 private:
  struct Tensor {
    c10::ScalarType type;
    std::uint64_t size_bytes;
  };
  void keep_larger(const std::string& name, Tensor tensor);

  std::map<std::string, Tensor> tensors_;  // and modules, with their largest tensor
  std::uint64_t num_bytes_ = 0;
};

/// The type in which a checkpoint's files hold most of its bytes, whatever config.json says. Errors:
/// IoError; ConfigError for a type that is none of float32, bfloat16, float16.
c10::ScalarType stored_type(const std::string& path);

/// A model of this config.json with parameters drawn from `key`: matrices normal with deviation
/// `initializer_range` (default 0.02), norms one, biases zero. Errors: ConfigError as load_model.
std::shared_ptr<LanguageModel> make_random_model(const nlohmann::ordered_json& config,
                                                 const RandomKey& key,
                                                 c10::Device device = c10::kCPU,
                                                 c10::ScalarType type = c10::kFloat);

/// Writes config.json, model.safetensors (Hugging Face names, ties stored once), lowbank.json and
/// the side files of `loaded.folder` into `folder` (created if need be). The files are written
/// in a folder next to it and moved into place at the end, config.json last. `loaded.meta.linears`
/// is taken from the model's slots; one history entry is added. `type_of` gives the type in which a
/// parameter is written, its own where there is no function. Errors: IoError; ResourceError for
/// values beyond that type; c10::Error if two layers of one slot have parameters of the same name.
void save_model(const std::string& folder, const LoadedModel& loaded, const HistoryEntry& entry,
                const std::function<c10::ScalarType(const std::string&)>& type_of = {});

}  // namespace lowbank
