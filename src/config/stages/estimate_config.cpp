#include "config/stages/estimate_config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

template <class Value>
void expect_distinct(const char* key, const std::vector<Value>& values) {
  for (auto value = values.begin(); value != values.end(); ++value) {
    if (std::find(values.begin(), value, *value) != value) {
      throw ConfigError(fmt::format("{}: {} is given twice", key, *value));
    }
  }
}

}  // namespace

CommandInfo EstimateConfig::info() const {
  return {.name = "estimate",
          .purpose = "Price workloads on modelled hardware: time and energy.",
          .example = "lowbank estimate --workload workload.json --system gpu-a100 rram-hyflexpim",
          .output_file = "estimate.json",
          .is_modelled = true};
}

Fields EstimateConfig::stage_fields() const {
  const std::vector<std::string> cache_formats = {"none", "fp16", "bf16", "int8",
                                                  "e4m3", "e5m2", "mx8"};
  return {
      Field("workload", &workload, "workload files, each to be priced on every system")
          .input()
          .many(),
      Field("system", &system, "systems of configs/pim, or files of that form").presets().many(),
      Field("experiments", &experiments, "instead: experiments of the reference, JSONL").input(),
      Field("pim_calls", &pim_calls, "instead: calls of a memory with processing units, CSV")
          .input(),
      Field("operators", &operators, "instead: single GPU operators, CSV").input(),
      Field("fit", &fit, "instead: measured GPU operators to fit a preset's times to, CSV").input(),
      Field("trace", &trace, "file for every command of pim_calls (small sizes)")
          .output()
          .no_effect(),
      Field("mode", &mode, "timing rules: corrected, or the published simulators' own")
          .one_of({"physical", "reference"}),
      Field("correct", &correct, "corrections to add to reference mode, by name").many(),
      Field("slc_frac", &slc_frac, "part of the weights in SLC cells, on RRAM systems")
          .at_least(0)
          .at_most(1),
      Field("slc_slices", &slc_slices,
            "most significant slices of every weight in SLC cells, on RRAM systems")
          .at_least(0)
          .at_most(8),
      Field("encoding", &encoding,
            "of weights in RRAM cells; sign_magnitude and differential take twice the cells")
          .one_of({"twos_complement", "sign_magnitude", "differential", "offset_binary"}),
      Field("batch", &batch,
            "sequences at a time, in place of the workload's own; several: a sweep")
          .many()
          .at_least(1),
      Field("context", &context, "tokens of the prompt and in the cache, likewise")
          .many()
          .at_least(1)
          .unit("tokens"),
      Field("output_tokens", &output_tokens,
            "also the cost of a prompt and this many generated tokens; 0 = no")
          .at_least(0)
          .at_most(1 << 20)
          .unit("tokens"),
      Field("num_gpus", &num_gpus, "GPUs that share every layer (tensor parallel)")
          .at_least(1)
          .at_most(1024),
      Field("num_chips", &num_chips, "RRAM chips; 0 = as many as the weights need")
          .at_least(0)
          .at_most(1'000'000),
      Field("kv_format", &kv_format, "of keys and values; none = each system's own")
          .one_of(cache_formats),
      Field("state_format", &state_format, "of states, likewise").one_of(cache_formats),
      Field("attention", &attention, "on GPUs: one kernel, or score, softmax and attend each")
          .one_of({"fused", "unfused"}),
      Field("prompt_head", &prompt_head, "tokens of a prompt that the head computes")
          .one_of({"last", "all"}),
      Field("interconnect", &interconnect,
            "of the GPUs: a preset of kind link, in place of their own links"),
      Field("crossovers", &crossovers,
            "also the batches and contexts at which one system overtakes another"),
      Field("break_even", &break_even,
            "also, for each operator: ranks, batches, contexts at which a system takes less"),
      Field("sensitivity", &sensitivity,
            "also the effect of every constant times 1 - and 1 + this; 0 = no, 0.2 is usual")
          .at_least(0)
          .below(1)};
}

bool EstimateConfig::makes_table() const { return workload.empty() && fit.empty(); }

void EstimateConfig::validate() const {
  const int num_jobs = static_cast<int>(!workload.empty()) +
                       static_cast<int>(!experiments.empty()) +
                       static_cast<int>(!pim_calls.empty()) + static_cast<int>(!operators.empty()) +
                       static_cast<int>(!fit.empty());
  if (num_jobs != 1) {
    throw ConfigError(
        "estimate: give one of workload (with system), experiments, pim_calls, operators and fit");
  }
  if (!workload.empty() && system.empty()) throw ConfigError("system: workload needs at least one");
  if (workload.empty() && !system.empty() && (fit.empty() || system.size() > 1)) {
    throw ConfigError("system: belongs to workload, or is the one preset that fit starts from");
  }
  if (workload.empty() &&
      (!batch.empty() || !context.empty() || output_tokens > 0 || num_gpus > 1 || num_chips > 0 ||
       slc_slices > 0 || encoding != "twos_complement" || kv_format != "none" ||
       state_format != "none" || attention != "fused" || prompt_head != "last" ||
       !interconnect.empty() || crossovers || break_even || sensitivity > 0)) {
    throw ConfigError(
        "estimate: batch, context, output_tokens, num_gpus, num_chips, slc_slices, encoding, "
        "kv_format, state_format, attention, prompt_head, interconnect, crossovers, break_even and "
        "sensitivity belong to workload");
  }
  for (const auto& [key, values] : {std::pair{"batch", &batch}, std::pair{"context", &context}}) {
    for (const double value : *values) {
      if (value != std::floor(value) || value > 1e12) {
        throw ConfigError(
            fmt::format("{}: must be whole numbers in [1, 1e12]; got {}", key, value));
      }
    }
    expect_distinct(key, *values);
  }
  expect_distinct("correct", correct);
  if (crossovers && system.size() < 2) throw ConfigError("crossovers: needs at least two systems");
  if (!trace.empty() && pim_calls.empty()) {
    throw ConfigError("trace: belongs to pim_calls, and cannot be given without it");
  }
  if (!correct.empty() && mode != "reference") {
    throw ConfigError("correct: adds to mode=reference; mode=physical has every correction");
  }
}

std::string EstimateConfig::run_folder() const {
  if (!makes_table() || common.out.empty()) return StageConfig::run_folder();
  return common.out.ends_with('/') ? common.out.substr(0, common.out.size() - 1) : "";
}

std::string EstimateConfig::place_in_run(const std::string& folder, const std::string& id) const {
  return StageConfig::place_in_run(folder, id) + (makes_table() ? "/" : "");
}

}  // namespace lowbank
