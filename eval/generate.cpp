#include "eval/generate.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "models/language_model.h"

namespace lowbank {
namespace {

struct Candidate {
  std::int64_t id;
  double weight;  // exp((logit - max) / temperature)
};

// Removes the candidates that top_k and top_p exclude. If either is set, sorts them, the most
// likely one first.
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

// The prompts as rows whose last tokens are in the last column, with a mask if lengths differ.
ModelInput left_padded(std::span<const Prompt> prompts, c10::Device device) {
  std::size_t longest = 0, shortest = prompts.front().ids.size();
  for (const auto& prompt : prompts) {
    longest = std::max(longest, prompt.ids.size());
    shortest = std::min(shortest, prompt.ids.size());
  }
  const auto ids_BT = at::zeros(
      {static_cast<std::int64_t>(prompts.size()), static_cast<std::int64_t>(longest)}, at::kLong);
  const auto mask_BT = at::zeros(ids_BT.sizes(), at::kBool);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& ids = prompts[i].ids;
    const std::size_t end = (i + 1) * longest;
    std::copy(ids.begin(), ids.end(), ids_BT.mutable_data_ptr<std::int64_t>() + end - ids.size());
    std::fill_n(mask_BT.mutable_data_ptr<bool>() + end - ids.size(), ids.size(), true);
  }
  if (shortest == longest) return ids_BT.to(device);
  return {ids_BT.to(device), mask_BT.to(device)};
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
    // The largest logit gets weight 1 without a subtraction: infinity minus itself is NaN.
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
  return static_cast<std::int64_t>(best);  // only if rounding left a rest of the last weight
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

std::vector<std::vector<std::int64_t>> generate_tokens(
    LanguageModel& model, std::span<const Prompt> prompts, std::int64_t max_new_tokens,
    std::span<const std::int64_t> stop_ids, const SamplingOptions& options,
    const std::function<void(std::size_t, std::int64_t)>& on_token) {
  for (const auto& prompt : prompts) check_generation(model, prompt.ids, max_new_tokens);
  std::vector<std::vector<std::int64_t>> new_ids(prompts.size());
  if (max_new_tokens == 0 || prompts.empty()) return new_ids;
  const torch::NoGradGuard no_grad;
  const auto device = model.parameters().front().device();
  auto input = left_padded(prompts, device);
  const auto state = model.make_state(input.ids_BT.size(0), input.ids_BT.size(1) + max_new_tokens);
  auto next_B1 = at::zeros({input.ids_BT.size(0), 1}, at::kLong);
  std::vector<bool> has_ended(prompts.size());
  for (std::int64_t step = 0; step < max_new_tokens; ++step) {
    if (interrupt_requested()) throw Interrupted("stopped; the text above is all there is");
    const auto hidden_BTD = model.hidden_states(input, state.get());
    const auto last_BV = model.head(hidden_BTD.narrow(1, hidden_BTD.size(1) - 1, 1))
                             .squeeze(1)
                             .to(at::kCPU, at::kFloat)
                             .contiguous();
    const auto num_classes = static_cast<std::size_t>(last_BV.size(1));
    const float* const last = last_BV.const_data_ptr<float>();
    bool is_end = true;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (has_ended[i]) continue;  // the row stays in the batch, but its tokens are not used
      float uniform = 0;
      fill_uniform({&uniform, 1}, prompts[i].key, static_cast<std::uint64_t>(step));
      const std::int64_t id = choose_token({last + i * num_classes, num_classes}, options, uniform);
      new_ids[i].push_back(id);
      on_token(i, id);
      has_ended[i] = std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end();
      is_end = is_end && has_ended[i];
      next_B1.mutable_data_ptr<std::int64_t>()[i] = id;
    }
    if (is_end) break;
    input = ModelInput(next_B1.to(device));
  }
  return new_ids;
}

std::vector<std::int64_t> read_stop_ids(const std::string& folder) {
  for (const auto* name : {"generation_config.json", "config.json"}) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    if (!std::filesystem::exists(path)) continue;
    const auto found = JsonReader(read_json(path), path, kProgramFile).find("eos_token_id");
    if (!found) continue;
    if (!found->is_list()) return {found->integer()};
    std::vector<std::int64_t> ids;
    for (const JsonReader& id : found->items()) ids.push_back(id.integer());
    return ids;
  }
  return {};
}

void check_vocabulary(const tokenizers::Tokenizer& tokenizer, const LanguageModel& model,
                      const std::string& folder) {
  if (tokenizer.vocab_size() > model.vocab_size()) {
    throw ConfigError(
        fmt::format("{}: the tokenizer has {} pieces, the model's vocabulary {}; they "
                    "do not belong together",
                    folder, tokenizer.vocab_size(), model.vocab_size()));
  }
}

}  // namespace lowbank
