#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/philox.h"
#include "tokenizers/tokenizer.h"

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

/// A sequence to go on with, and what draws its tokens.
struct Prompt {
  std::vector<std::int64_t> ids;
  RandomKey key;  ///< new token i is drawn with element i of its uniform stream
};

/// Continues each prompt by up to `max_new_tokens`, ending with the first token of `stop_ids`,
/// which is kept. Shorter prompts are padded on the left, which changes nothing but the last bits
/// of the logits: a batch gives what its prompts give one by one (with dynamic rotary scaling as
/// long as padding and tokens fit max_position_embeddings). `on_token(i, id)` is called for each
/// new token of prompt i.
///
/// Errors: as check_generation; Interrupted on Ctrl-C.
std::vector<std::vector<std::int64_t>> generate_tokens(
    LanguageModel& model, std::span<const Prompt> prompts, std::int64_t max_new_tokens,
    std::span<const std::int64_t> stop_ids, const SamplingOptions& options,
    const std::function<void(std::size_t, std::int64_t)>& on_token);

/// Tokens that end a text: `eos_token_id` (a number or a list) of generation_config.json, else of
/// config.json. Errors: IoError for another kind of value.
std::vector<std::int64_t> read_stop_ids(const std::string& folder);

/// Errors: ConfigError when the tokenizer has ids that the model does not know.
void check_vocabulary(const tokenizers::Tokenizer& tokenizer, const LanguageModel& model,
                      const std::string& folder);

}  // namespace lowbank
