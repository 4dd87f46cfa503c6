#include "eval/generate.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "models/language_model.h"

namespace lowbank {
namespace {

struct Candidate {
  std::int64_t id;
  double weight;  // exp((logit - max) / temperature)
};

// The candidates that top_k and top_p leave, most likely first where either cuts.
void keep_most_likely(std::vector<Candidate>& candidates, const SamplingOptions& options) {
  const auto size = static_cast<std::int64_t>(candidates.size());
  const bool cuts_k = options.top_k > 0 && options.top_k < size;
  if (!cuts_k && options.top_p >= 1.0) return;
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  if (cuts_k) candidates.resize(static_cast<std::size_t>(options.top_k));
  if (options.top_p >= 1.0) return;
  double total = 0;
  for (const auto& candidate : candidates) total += candidate.weight;
  double sum = 0;
  std::size_t count = 0;
  while (count < candidates.size() && sum < options.top_p * total) {
    sum += candidates[count++].weight;
  }
  candidates.resize(count);
}

}  // namespace

std::int64_t choose_token(std::span<const float> logits_V, const SamplingOptions& options,
                          float uniform) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits_V.size(); ++i) {
    if (std::isnan(logits_V[i])) {
      throw ResourceError(fmt::format("the model's logit of token {} is not a number", i));
    }
    if (logits_V[i] > logits_V[best]) best = i;
  }
  if (options.greedy) return static_cast<std::int64_t>(best);

  std::vector<Candidate> candidates(logits_V.size());
  for (std::size_t i = 0; i < logits_V.size(); ++i) {
    // The best one's weight is 1 whatever it is: infinity minus itself is no number.
    const double distance =
        logits_V[i] == logits_V[best] ? 0.0 : static_cast<double>(logits_V[i]) - logits_V[best];
    candidates[i] = {static_cast<std::int64_t>(i), std::exp(distance / options.temperature)};
  }
  keep_most_likely(candidates, options);
  double total = 0;
  for (const auto& candidate : candidates) total += candidate.weight;
  double rest = static_cast<double>(uniform) * total;
  for (const auto& candidate : candidates) {
    rest -= candidate.weight;
    if (rest < 0) return candidate.id;
  }
  return static_cast<std::int64_t>(best);  // rounding left a crumb of the last weight
}

void check_generation(const LanguageModel& model, std::span<const std::int64_t> prompt,
                      std::int64_t max_new_tokens) {
  const auto num_prompt = static_cast<std::int64_t>(prompt.size());
  if (num_prompt == 0) {
    throw ConfigError("prompt: is empty, and the tokenizer adds no start token; give some text");
  }
  for (const auto id : prompt) {
    if (id < 0 || id >= model.vocab_size()) {
      throw ConfigError(
          fmt::format("prompt: token id must be in [0, {}); got {}", model.vocab_size(), id));
    }
  }
  if (const auto max = model.max_context();
      max > 0 && (num_prompt > max || max_new_tokens > max - num_prompt)) {
    throw ConfigError(fmt::format(
        "max_new_tokens: prompt and new tokens must be <= {} (the model's context); got "
        "{} + {}",
        max, num_prompt, max_new_tokens));
  }
}

std::vector<std::int64_t> generate_tokens(LanguageModel& model,
                                          std::span<const std::int64_t> prompt,
                                          std::int64_t max_new_tokens,
                                          std::span<const std::int64_t> stop_ids,
                                          const SamplingOptions& options, const RandomKey& key,
                                          const std::function<void(std::int64_t)>& on_token) {
  check_generation(model, prompt, max_new_tokens);
  const torch::NoGradGuard no_grad;
  const auto device = model.parameters().front().device();
  std::vector<std::int64_t> new_ids;
  if (max_new_tokens == 0) return new_ids;
  const auto state = model.make_state(1, static_cast<std::int64_t>(prompt.size()) + max_new_tokens);
  std::vector<std::int64_t> input(prompt.begin(), prompt.end());
  for (std::int64_t step = 0; step < max_new_tokens; ++step) {
    if (interrupt_requested()) throw Interrupted("stopped; the text above is all there is");
    const auto hidden_1TD =
        model.hidden_states(at::tensor(input, at::kLong).unsqueeze(0).to(device), state.get());
    const auto last_V = model.head(hidden_1TD.narrow(1, hidden_1TD.size(1) - 1, 1))
                            .flatten()
                            .to(at::kCPU, at::kFloat)
                            .contiguous();
    float uniform = 0;
    fill_uniform({&uniform, 1}, key, static_cast<std::uint64_t>(step));
    const std::int64_t id =
        choose_token({last_V.const_data_ptr<float>(), static_cast<std::size_t>(last_V.numel())},
                     options, uniform);
    new_ids.push_back(id);
    on_token(id);
    if (std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end()) break;
    input = {id};
  }
  return new_ids;
}

std::vector<std::int64_t> read_stop_ids(const std::string& folder) {
  for (const auto* name : {"generation_config.json", "config.json"}) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    if (!std::filesystem::exists(path)) continue;
    const auto config = read_json(path);
    const auto found = config.find("eos_token_id");
    if (found == config.end() || found->is_null()) continue;
    std::vector<std::int64_t> ids;
    for (const auto& id : found->is_array() ? *found : nlohmann::ordered_json::array({*found})) {
      if (!id.is_number_integer()) {
        throw IoError(path + ": key 'eos_token_id' wants a whole number or a list of them");
      }
      ids.push_back(id.get<std::int64_t>());
    }
    return ids;
  }
  return {};
}

void check_vocabulary(const Tokenizer& tokenizer, const LanguageModel& model,
                      const std::string& folder) {
  if (tokenizer.vocab_size() > model.vocab_size()) {
    throw ConfigError(
        fmt::format("{}: the tokenizer has {} pieces, the model's vocabulary {}; they "
                    "do not belong together",
                    folder, tokenizer.vocab_size(), model.vocab_size()));
  }
}

}  // namespace lowbank
