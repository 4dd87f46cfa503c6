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

/// Draws a token. Logits are divided by the temperature; the `top_k` most likely tokens are kept,
/// and of these the fewest most likely ones that hold the fraction `top_p` of their probability.
/// `uniform` in (0, 1) decides among the rest.
///
/// Source:  transformers' TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper.
/// Errors:  ResourceError when a logit is not a number.
std::int64_t choose_token(std::span<const float> logits_V, const SamplingOptions& options,
                          float uniform);

/// Checks that the model can continue the prompt. Errors: ConfigError if the prompt is empty or has
/// an id outside the vocabulary, or if prompt and new tokens exceed the model's context.
void check_generation(const LanguageModel& model, std::span<const std::int64_t> prompt,
                      std::int64_t max_new_tokens);

/// A sequence to continue, and the key that draws its new tokens.
struct Prompt {
  std::vector<std::int64_t> ids;
  RandomKey key;  ///< new token i is drawn with element i of its uniform stream
};

/// Continues each prompt by up to `max_new_tokens` and returns the new tokens. A continuation ends
/// with the first token that is in `stop_ids`, which it includes. Shorter prompts are padded on the
/// left. This changes only the last bits of the logits, so a batch gives the same as its prompts
/// one by one (with dynamic rotary scaling, only if padding and tokens fit
/// max_position_embeddings). `on_token(i, id)` is called for each new token of prompt i.
///
/// Errors: as check_generation; Interrupted on Ctrl-C.
std::vector<std::vector<std::int64_t>> generate_tokens(
    LanguageModel& model, std::span<const Prompt> prompts, std::int64_t max_new_tokens,
    std::span<const std::int64_t> stop_ids, const SamplingOptions& options,
    const std::function<void(std::size_t, std::int64_t)>& on_token);

/// Tokens that end a text: `eos_token_id` (a number or a list) of generation_config.json, else of
/// config.json. Errors: IoError for another kind of value.
std::vector<std::int64_t> read_stop_ids(const std::string& folder);

/// Checks that the tokenizer fits the model. Errors: ConfigError naming `folder` if the tokenizer
/// has ids that the model does not know.
void check_vocabulary(const tokenizers::Tokenizer& tokenizer, const LanguageModel& model,
                      const std::string& folder);

}  // namespace lowbank
