#include "models/logits_stage.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <vector>

#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/progress.h"
#include "kernels/runtime.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

constexpr std::int64_t kTokensPerPass = 4096;  // bounds the memory of one forward pass

/// The tokens of one row: positions [begin, end); the rest is padding.
struct TokenRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool operator==(const TokenRange&) const = default;
};

struct LogitsInput {
  torch::Tensor ids_BT;
  std::vector<TokenRange> rows;
};

// Where row `b` of the mask is 1; one block, as tokenizers pad.
TokenRange token_range(const std::int64_t* mask_T, std::int64_t num_tokens, std::int64_t b,
                       const std::string& path) {
  const auto is_one = [](std::int64_t value) { return value == 1; };
  const auto* const end = mask_T + num_tokens;
  const auto* const first = std::find_if(mask_T, end, is_one);
  const auto* const last = std::find_if_not(first, end, is_one);
  const bool only_zeros = std::all_of(mask_T, first, [](auto value) { return value == 0; }) &&
                          std::all_of(last, end, [](auto value) { return value == 0; });
  if (first == end || !only_zeros) {
    throw ConfigError(
        fmt::format("{}: attention_mask: row {} must be one block of 1 between 0s "
                    "(padding on either side)",
                    path, b));
  }
  return {.begin = first - mask_T, .end = last - mask_T};
}

LogitsInput read_input(const std::string& path, const LanguageModel& model) {
  auto tensors = read_tensors(path);
  for (const auto& [name, tensor] : tensors) {
    if (name != "input_ids" && name != "attention_mask") {
      throw ConfigError(fmt::format(
          "{}: tensor '{}' is unknown; this model takes input_ids and attention_mask", path, name));
    }
  }
  if (!tensors.contains("input_ids")) throw ConfigError(path + ": has no tensor 'input_ids'");
  LogitsInput input;
  input.ids_BT = tensors.at("input_ids");
  const auto& ids_BT = input.ids_BT;
  if (ids_BT.dim() != 2 || ids_BT.scalar_type() != c10::kLong || ids_BT.numel() == 0) {
    throw ConfigError(fmt::format("{}: input_ids must be [B, T] int64 and not empty; got [{}]",
                                  path, fmt::join(ids_BT.sizes(), ", ")));
  }
  const std::int64_t num_rows = ids_BT.size(0), num_tokens = ids_BT.size(1);
  if (model.max_context() > 0 && num_tokens > model.max_context()) {
    throw ConfigError(fmt::format("{}: input_ids has {} tokens a row; the model's context is {}",
                                  path, num_tokens, model.max_context()));
  }
  input.rows.assign(static_cast<std::size_t>(num_rows), {.begin = 0, .end = num_tokens});
  if (const auto mask = tensors.find("attention_mask"); mask != tensors.end()) {
    if (mask->second.sizes() != ids_BT.sizes() ||
        !c10::isIntegralType(mask->second.scalar_type(), /*includeBool=*/true)) {
      throw ConfigError(path +
                        ": attention_mask must hold whole numbers in the shape of input_ids");
    }
    const auto mask_BT = mask->second.to(c10::kLong);
    for (std::int64_t b = 0; b < num_rows; ++b) {
      input.rows[static_cast<std::size_t>(b)] =
          token_range(mask_BT.const_data_ptr<std::int64_t>() + b * num_tokens, num_tokens, b, path);
    }
  }
  for (std::int64_t b = 0; b < num_rows; ++b) {
    const auto* const row = ids_BT.const_data_ptr<std::int64_t>() + b * num_tokens;
    const auto range = input.rows[static_cast<std::size_t>(b)];
    for (std::int64_t t = range.begin; t < range.end; ++t) {
      if (row[t] < 0 || row[t] >= model.vocab_size()) {
        throw ConfigError(fmt::format("{}: input_ids[{}, {}] is {}; the model's ids are 0 to {}",
                                      path, b, t, row[t], model.vocab_size() - 1));
      }
    }
  }
  return input;
}

// Every model here is causal and either turns relative positions or keeps none, so a row's tokens
// give the same logits with and without padding around them: padding is left out, not masked.
torch::Tensor run(LanguageModel& model, const LogitsInput& input, c10::Device device) {
  const c10::InferenceMode inference;
  const std::int64_t num_rows = input.ids_BT.size(0);
  auto logits_BTV = at::zeros({num_rows, input.ids_BT.size(1), model.vocab_size()}, c10::kFloat);
  ProgressBar bar("logits", num_rows, "row");
  for (std::int64_t b = 0; b < num_rows;) {
    if (interrupt_requested()) throw Interrupted("nothing was written; run the command again");
    const TokenRange range = input.rows[static_cast<std::size_t>(b)];
    const std::int64_t length = range.end - range.begin;
    const std::int64_t max_count = std::max<std::int64_t>(1, kTokensPerPass / length);
    std::int64_t count = 1;
    while (count < max_count && b + count < num_rows &&
           input.rows[static_cast<std::size_t>(b + count)] == range) {
      ++count;
    }
    const auto ids = input.ids_BT.narrow(0, b, count).narrow(1, range.begin, length).to(device);
    logits_BTV.narrow(0, b, count).narrow(1, range.begin, length).copy_(model.forward(ids));
    b += count;
    bar.update(b);
  }
  return logits_BTV;
}

}  // namespace

void logits_stage(const LogitsConfig& config, RunDir* /*out*/, Metrics& metrics) {
  const auto device = apply_runtime(config.common);
  const auto folder = std::filesystem::absolute(config.out).parent_path();
  if (!std::filesystem::is_directory(folder)) {
    throw IoError(fmt::format("{}: the folder {} does not exist", config.out, folder.string()));
  }
  const auto loaded = load_model(config.checkpoint, device, compute_type(config.common));
  auto& model = *loaded.model;
  const auto input = read_input(config.ids, model);
  require_memory(static_cast<std::uint64_t>(input.ids_BT.numel()) *
                     static_cast<std::uint64_t>(model.vocab_size()) * sizeof(float),
                 "the logits");

  const auto start = std::chrono::steady_clock::now();
  const auto logits_BTV = run(model, input, device);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  write_tensors(config.out, {{"logits", logits_BTV}});

  std::int64_t num_tokens = 0;
  for (const auto& row : input.rows) num_tokens += row.end - row.begin;
  metrics = {{"out", config.out},
             {"num_rows", input.ids_BT.size(0)},
             {"num_tokens", num_tokens},
             {"vocab_size", model.vocab_size()},
             {"tokens_per_second", static_cast<double>(num_tokens) / seconds.count()}};
  lowbank::print("{}: logits [{}]", config.out, fmt::join(logits_BTV.sizes(), ", "));
}

}  // namespace lowbank
