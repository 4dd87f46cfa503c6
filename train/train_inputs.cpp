#include "train/train_inputs.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

TrainInputs open_train_inputs(const std::string& checkpoint, const TextDataConfig& data,
                              const RuntimeOptions& runtime) {
  const auto device = apply_runtime(runtime);
  auto loaded = load_causal_model(checkpoint, device, runtime.type);
  const auto tokenizer = tokenizers::open_tokenizer(loaded.folder);
  const std::int64_t max_context = loaded.model->max_context();
  if (max_context > 0 && data.context > max_context) {
    throw ConfigError(fmt::format("data.context: must be <= {}, the longest context of {}; got {}",
                                  max_context, loaded.folder, data.context));
  }
  if (tokenizer->vocab_size() > loaded.model->vocab_size()) {
    throw ConfigError(fmt::format("{}: the tokenizer has {} ids, the model only {}", loaded.folder,
                                  tokenizer->vocab_size(), loaded.model->vocab_size()));
  }
  TextDataset train(data.train, *tokenizer, data.context);
  std::optional<TextDataset> valid;
  if (!data.valid.empty()) valid.emplace(data.valid, *tokenizer, data.context);
  return {.loaded = std::move(loaded), .train = std::move(train), .valid = std::move(valid)};
}

}  // namespace lowbank
