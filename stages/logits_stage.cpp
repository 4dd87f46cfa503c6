#include "stages/logits_stage.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>
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
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/tensor_file.h"
#include "stages/runtime_options.h"

namespace lowbank {
namespace {

constexpr std::int64_t kTokensPerPass = 4096;  // bounds the memory of one forward pass

/// The tokens of one row are at positions [begin, end); the other positions are padding.
struct TokenRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool operator==(const TokenRange&) const = default;
};

struct LogitsInput {
  torch::Tensor ids_BT;
  torch::Tensor mask_BT;         // bool; undefined: no padding
  torch::Tensor token_types_BT;  // undefined: all 0
  std::vector<TokenRange> rows;  // of a causal model
};

// The positions at which row `b` of the mask is 1. They must be one block, as tokenizers pad.
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

// A tensor in the file of input_ids, with the same shape and whole numbers; undefined if absent.
torch::Tensor companion(const std::map<std::string, torch::Tensor>& tensors,
                        const std::string& name, const torch::Tensor& ids_BT,
                        const std::string& path) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return {};
  if (found->second.sizes() != ids_BT.sizes() ||
      !c10::isIntegralType(found->second.scalar_type(), /*includeBool=*/true)) {
    throw ConfigError(
        fmt::format("{}: {} must hold whole numbers in the shape of input_ids", path, name));
  }
  return found->second.to(c10::kLong);
}

// Refuses values of `what` outside [0, limit) where `mask_BT` (undefined: everywhere) is true.
void check_range(const torch::Tensor& values_BT, const torch::Tensor& mask_BT, std::int64_t limit,
                 const char* name, const char* what, const std::string& path) {
  const auto values = values_BT.contiguous();
  const std::int64_t num_tokens = values.size(1);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const std::int64_t value = values.const_data_ptr<std::int64_t>()[i];
    if (mask_BT.defined() && !mask_BT.const_data_ptr<bool>()[i]) continue;
    if (value < 0 || value >= limit) {
      throw ConfigError(fmt::format("{}: {}[{}, {}] is {}; the model's {} are 0 to {}", path, name,
                                    i / num_tokens, i % num_tokens, value, what, limit - 1));
    }
  }
}

LogitsInput read_input(const std::string& path, const LanguageModel& model) {
  auto tensors = read_tensors(path);
  for (const auto& [name, tensor] : tensors) {
    const bool is_known = name == "input_ids" || name == "attention_mask" ||
                          (name == "token_type_ids" && model.num_token_types() > 0);
    if (!is_known) {
      throw ConfigError(
          fmt::format("{}: tensor '{}' is unknown; this model takes input_ids and attention_mask{}",
                      path, name, model.num_token_types() > 0 ? ", and token_type_ids" : ""));
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
  if (const auto mask_BT = companion(tensors, "attention_mask", ids_BT, path); mask_BT.defined()) {
    for (std::int64_t b = 0; model.is_causal() && b < num_rows; ++b) {
      input.rows[static_cast<std::size_t>(b)] =
          token_range(mask_BT.const_data_ptr<std::int64_t>() + b * num_tokens, num_tokens, b, path);
    }
    const auto is_one = mask_BT == 1;
    if (!is_one.logical_or(mask_BT == 0).all().item<bool>() || !is_one.any(1).all().item<bool>()) {
      throw ConfigError(path + ": attention_mask must hold 0 and 1, with a 1 in every row");
    }
    input.mask_BT = is_one;
  }
  input.token_types_BT = companion(tensors, "token_type_ids", ids_BT, path);
  if (input.token_types_BT.defined()) {
    check_range(input.token_types_BT, {}, model.num_token_types(), "token_type_ids", "token types",
                path);
  }
  // A causal model never sees padding. An encoder looks up its embedding, so its ids must be valid.
  check_range(ids_BT, model.is_causal() ? input.mask_BT : torch::Tensor(), model.vocab_size(),
              "input_ids", "ids", path);
  return input;
}

// Padding of causal models is removed before the computation, not masked. This is exact, because
// rotary embeddings depend only on distances and Mamba has no positions.
torch::Tensor run_causal(LanguageModel& model, const LogitsInput& input, c10::Device device) {
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

// An encoder's positions are absolute, and its padding may be anywhere, so it gets the mask.
torch::Tensor run_encoder(LanguageModel& model, const LogitsInput& input, c10::Device device) {
  const c10::InferenceMode inference;
  const std::int64_t num_rows = input.ids_BT.size(0);
  const std::int64_t step = std::max<std::int64_t>(1, kTokensPerPass / input.ids_BT.size(1));
  std::vector<torch::Tensor> outputs;
  ProgressBar bar("logits", num_rows, "row");
  for (std::int64_t b = 0; b < num_rows; b += step) {
    if (interrupt_requested()) throw Interrupted("nothing was written; run the command again");
    const std::int64_t count = std::min(step, num_rows - b);
    const auto part = [&](const torch::Tensor& x) {
      return x.defined() ? x.narrow(0, b, count).to(device) : torch::Tensor();
    };
    outputs.push_back(
        model.forward({part(input.ids_BT), part(input.mask_BT), part(input.token_types_BT)})
            .to(c10::kCPU, c10::kFloat));
    bar.update(b + count);
  }
  return at::cat(outputs);
}

}  // namespace

void logits_stage(const LogitsConfig& config, RunDir* /*out*/, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto folder = std::filesystem::absolute(config.out).parent_path();
  if (!std::filesystem::is_directory(folder)) {
    throw IoError(fmt::format("{}: the folder {} does not exist", config.out, folder.string()));
  }
  const auto loaded = load_model(config.checkpoint, device, runtime.type);
  auto& model = *loaded.model;
  const auto input = read_input(config.ids, model);
  if (model.head_kind() == HeadKind::kNextToken || model.head_kind() == HeadKind::kMaskedToken) {
    require_memory(static_cast<std::uint64_t>(input.ids_BT.numel()) *
                       static_cast<std::uint64_t>(model.vocab_size()) * sizeof(float),
                   "the logits");
  }

  const auto start = std::chrono::steady_clock::now();
  const auto logits =
      model.is_causal() ? run_causal(model, input, device) : run_encoder(model, input, device);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const char* const name = model.head_kind() == HeadKind::kNone ? "last_hidden_state" : "logits";
  write_tensors(config.out, {{name, logits}});

  std::int64_t num_tokens = 0;
  if (input.mask_BT.defined()) {
    num_tokens = input.mask_BT.sum().item<std::int64_t>();
  } else {
    num_tokens = input.ids_BT.numel();
  }
  metrics = {{"out", config.out},
             {"num_rows", input.ids_BT.size(0)},
             {"num_tokens", num_tokens},
             {"vocab_size", model.vocab_size()},
             {"tokens_per_second", static_cast<double>(num_tokens) / seconds.count()}};
  lowbank::print("{}: {} [{}]", config.out, name, fmt::join(logits.sizes(), ", "));
}

}  // namespace lowbank
