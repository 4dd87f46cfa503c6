#pragma once

#include <memory>
#include <string>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

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
/// that changes the result and is not supported, naming the key.
LoadedModel load_model(const std::string& path, c10::Device device = c10::kCPU,
                       c10::ScalarType type = c10::kFloat);

/// Writes config.json, model.safetensors (Hugging Face names, ties stored once), lowbank.json and
/// the side files of `loaded.folder` into `folder` (created if need be). The files are written
/// under temporary names and moved into place at the end, config.json last. `loaded.meta.linears`
/// is taken from the model's slots; one history entry is added. Errors: IoError.
void save_model(const std::string& folder, const LoadedModel& loaded, const HistoryEntry& entry);

}  // namespace lowbank
