#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/philox.h"
#include "data/tokenizer.h"

namespace lowbank {

class LanguageModel;

/// How the next token is drawn from the model's distribution.
struct SamplingOptions {
  bool greedy = false;       ///< the most likely token, the first of equals
  double temperature = 1.0;  ///< > 0
  std::int64_t top_k = 0;    ///< 0 = all
  double top_p = 1.0;        ///< in (0, 1]
};

/// Draws a token: temperature, then the `top_k` most likely, then the fewest most likely ones that
/// hold `top_p` of what is left; `uniform` in (0, 1) decides among them.
///
/// Source:  transformers' TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper.
/// Errors:  ResourceError when a logit is not a number.
std::int64_t choose_token(std::span<const float> logits_V, const SamplingOptions& options,
                          float uniform);

/// Errors: ConfigError when the prompt is empty or has an id outside the vocabulary, or prompt and
/// new tokens are more than the model's context.
void check_generation(const LanguageModel& model, std::span<const std::int64_t> prompt,
                      std::int64_t max_new_tokens);

/// Continues `prompt` by up to `max_new_tokens`, ending with the first token of `stop_ids`, which
/// is kept. Token i is drawn with element i of the key's uniform stream. `on_token(id)` is called
/// for each new token.
///
/// Errors: as check_generation; Interrupted on Ctrl-C.
std::vector<std::int64_t> generate_tokens(LanguageModel& model,
                                          std::span<const std::int64_t> prompt,
                                          std::int64_t max_new_tokens,
                                          std::span<const std::int64_t> stop_ids,
                                          const SamplingOptions& options, const RandomKey& key,
                                          const std::function<void(std::int64_t)>& on_token);

/// Tokens that end a text: `eos_token_id` (a number or a list) of generation_config.json, else of
/// config.json. Errors: IoError for another kind of value.
std::vector<std::int64_t> read_stop_ids(const std::string& folder);

/// Errors: ConfigError when the tokenizer has ids that the model does not know.
void check_vocabulary(const Tokenizer& tokenizer, const LanguageModel& model,
                      const std::string& folder);

}  // namespace lowbank
