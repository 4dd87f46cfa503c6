#pragma once

#include <memory>
#include <optional>
#include <string>

#include "config/parts/text_config.h"
#include "data/text_dataset.h"
#include "kernels/runtime.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "tokenizers/tokenizer.h"

namespace lowbank {

/// Model and texts of a training stage, read and checked against each other.
struct TrainInputs {
  LoadedModel loaded;
  TextDataset train;
  std::optional<TextDataset> valid;
};

/// Sets up the device, loads the checkpoint and tokenizes the texts.
/// Errors: those of load_model, open_tokenizer and TextDataset; ConfigError when the context is
/// longer than the model's, or the tokenizer has ids that the model does not know.
TrainInputs open_train_inputs(const std::string& checkpoint, const TextDataConfig& data,
                              const RuntimeOptions& runtime);

}  // namespace lowbank
