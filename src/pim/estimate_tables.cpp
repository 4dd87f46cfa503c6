#include "pim/estimate_tables.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/suggest.h"
#include "core/text.h"
#include "pim/csv_table.h"
#include "pim/experiment.h"
#include "pim/hbm_pim.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The table goes into the run folder, or is the one file that `out` names.
void write_table(const EstimateConfig& config, RunDir* out, const char* name,
                 const std::string& text) {
  if (out != nullptr) {
    out->begin();
    out->write(name, text);
  } else {
    write_file(config.common.out, text);
  }
}

// The same error, with the line that it is about.
template <class Work>
auto at_line(const std::string& where, Work&& work) {
  try {
    return work();
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", where, e.what()));
  }
}

std::int64_t whole_number(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_number_integer()) {
    throw ConfigError(fmt::format("{}: must be a whole number; got {}", key, value.dump()));
  }
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > kMaxDimension) {
    throw ConfigError(fmt::format("{}: must be at most 2^40; got {}", key, value.dump()));
  }
  return value.get<std::int64_t>();
}

std::string word(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_string()) {
    throw ConfigError(fmt::format("{}: must be a text; got {}", key, value.dump()));
  }
  return value.get<std::string>();
}

// Keys that a result line has beside those of its experiment; a line that has them is a result of
// before, and gets new ones.
const std::vector<std::string> kResultKeys = {"time_s", "memory_energy_pj", "compute_energy_pj",
                                              "mode"};

Experiment experiment_from_json(const Json& object) {
  const std::vector<std::string> known = {"model",    "batch_size",   "system",       "gpu",
                                          "num_gpus", "input_tokens", "output_tokens"};
  if (!object.is_object()) throw ConfigError("must be a JSON object");
  for (const auto& [key, value] : object.items()) {
    const auto has = [&key = key](const std::vector<std::string>& keys) {
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    if (!has(known) && !has(kResultKeys)) {
      throw ConfigError(fmt::format("unknown key '{}'{}", key, did_you_mean(key, known)));
    }
  }
  for (const auto& key : known) {
    if (!object.contains(key)) throw ConfigError(fmt::format("key '{}' is missing", key));
  }
  return {.model = word(object, "model"),
          .batch_size = whole_number(object, "batch_size"),
          .system = word(object, "system"),
          .gpu = word(object, "gpu"),
          .num_gpus = whole_number(object, "num_gpus"),
          .input_tokens = whole_number(object, "input_tokens"),
          .output_tokens = whole_number(object, "output_tokens")};
}

// The line as it came, with the figures added.
Json result_line(const Json& line, const ExperimentCost& cost, const std::string& mode) {
  Json result = line;
  for (const auto& key : kResultKeys) result.erase(key);
  for (const char* const key : {"time_s", "memory_energy_pj", "compute_energy_pj"}) {
    result[key] = Json::object();
  }
  for (const auto& [category, part] : cost.parts) {
    result["time_s"][category] = part.time_s;
    result["memory_energy_pj"][category] = part.memory_pj;
    result["compute_energy_pj"][category] = part.compute_pj;
  }
  result["mode"] = mode;
  return result;
}

PimKind pim_kind(const std::string& name) {
  if (name == "SU") return PimKind::kStateUpdate;
  if (name == "SCORE") return PimKind::kScore;
  if (name == "ATTEND") return PimKind::kAttend;
  throw ConfigError(fmt::format("op_type: must be one of SU, SCORE, ATTEND; got '{}'", name));
}

// The units of a call stand beside the banks of an A100's memory with as many channels as it says.
HbmPimModel call_model(const std::string& hardware, std::int64_t channels,
                       const Corrections& corrections) {
  const std::vector<std::string> names = {"HBM-PIM", "Pimba", "Pipelined", "Time-multiplexed"};
  if (std::find(names.begin(), names.end(), hardware) == names.end()) {
    throw ConfigError(fmt::format("hw: unknown hardware '{}'{}; there are {}", hardware,
                                  did_you_mean(hardware, names), fmt::join(names, ", ")));
  }
  const std::string system = hardware == "HBM-PIM" ? "GPU+PIM" : hardware;
  SystemPreset preset =
      combine_hbm_pim(hardware, load_preset("gpu-a100"), load_preset("memory-a100"),
                      load_preset(reference_unit_name(system)));
  for (auto& constant : preset.constants) {
    if (constant.key == "num_channels") constant.value = static_cast<double>(channels);
  }
  return HbmPimModel(preset, corrections);
}

const char* command_name(PimCommand command) {
  switch (command) {
    case PimCommand::kBarrier:
      return "REFRESH_BARRIER";
    case PimCommand::kWriteRegister:
      return "REG_WRITE";
    case PimCommand::kActivate:
      return "ACT4";
    case PimCommand::kCompute:
      return "COMP";
    case PimCommand::kReadResult:
      return "RESULT_READ";
    case PimCommand::kPrecharge:
      return "PRECHARGE";
    case PimCommand::kRefresh:
      return "REFab";
  }
  return "";
}

// Ramulator's form: cycle, command, then the levels of the address, -1 for those it has none of.
std::string trace_text(const HbmPimModel& model, const PimCall& call) {
  std::string text;
  model.trace(call, [&](std::int64_t channel, std::int64_t cycle, std::int64_t pseudo_channel,
                        const PimStep& step) {
    text += fmt::format("{}, {}, {}, {}, {}, -1, -1, -1\n", cycle, command_name(step.command),
                        channel, pseudo_channel, step.bank_group);
  });
  return text;
}

}  // namespace

Corrections corrections_of(const EstimateConfig& config) {
  Corrections corrections(config.mode == "reference" ? EstimateMode::kReference
                                                     : EstimateMode::kPhysical);
  for (const auto& name : config.correct) enable_correction(corrections, name);
  return corrections;
}

void estimate_experiments(const EstimateConfig& config, RunDir* out, Metrics& metrics) {
  const auto start = std::chrono::steady_clock::now();
  const Corrections corrections = corrections_of(config);
  std::map<std::pair<std::string, std::string>, ExperimentSystem> systems;
  std::string text;
  std::int64_t num_experiments = 0;
  std::size_t line_number = 0;
  const std::string input = read_text(config.experiments);
  for (const std::string_view line : split_lines(input)) {
    const std::string where = fmt::format("{}: line {}", config.experiments, ++line_number);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const Json object = parse_json(line, where);
    const ExperimentCost cost = at_line(where, [&] {
      const Experiment experiment = experiment_from_json(object);
      const auto key = std::pair(experiment.system, experiment.gpu);
      auto system = systems.find(key);
      if (system == systems.end()) {
        system = systems.try_emplace(key, experiment.system, experiment.gpu, corrections).first;
      }
      ExperimentCost result = system->second.price(experiment);
      if (!std::isfinite(result.time_s()) || !std::isfinite(result.energy_pj())) {
        throw ConfigError("the figures leave the range of numbers");
      }
      return result;
    });
    text += result_line(object, cost, config.mode).dump() + "\n";
    ++num_experiments;
  }
  write_table(config, out, "experiments.jsonl", text);
  const double seconds = seconds_since(start);
  metrics = {{"provenance", "modelled"},
             {"mode", config.mode},
             {"correct", config.correct},
             {"num_experiments", num_experiments},
             {"seconds", seconds}};
  print("{} experiments in {:.3f} s ({} mode; modelled figures)", num_experiments, seconds,
        config.mode);
}

void estimate_pim_calls(const EstimateConfig& config, RunDir* out, Metrics& metrics) {
  const auto start = std::chrono::steady_clock::now();
  const Corrections corrections = corrections_of(config);
  const CsvTable table = CsvTable::read(
      config.pim_calls, {"hw", "op_type", "num_op", "head_dim", "state_dim", "dbyte", "channels"});
  std::map<std::pair<std::string, std::int64_t>, HbmPimModel> models;
  std::vector<std::vector<std::string>> cells;
  std::string trace;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const PimCounts counts = at_line(table.where(row), [&] {
      const auto key = std::pair(table.text(row, "hw"), table.count(row, "channels"));
      auto model = models.find(key);
      if (model == models.end()) {
        model = models.emplace(key, call_model(key.first, key.second, corrections)).first;
      }
      const PimCall call = {.kind = pim_kind(table.text(row, "op_type")),
                            .num_op = table.count(row, "num_op"),
                            .head_dim = table.count(row, "head_dim"),
                            .state_dim = table.count(row, "state_dim"),
                            .element_bytes = table.count(row, "dbyte")};
      if (!config.trace.empty()) {
        trace += fmt::format("# {}\n{}", table.line(row), trace_text(model->second, call));
      }
      return model->second.count(call);
    });
    cells.push_back({std::to_string(counts.cycles), std::to_string(counts.num_activations),
                     std::to_string(counts.num_computes), std::to_string(counts.num_transfers)});
  }
  write_table(config, out, "pim_calls.csv",
              table.with_columns({"cycles", "num_act", "num_comp", "num_rdwr"}, cells));
  if (!config.trace.empty()) write_file(config.trace, trace);
  const double seconds = seconds_since(start);
  metrics = {{"provenance", "modelled"},
             {"mode", config.mode},
             {"correct", config.correct},
             {"num_calls", table.num_rows()},
             {"seconds", seconds}};
  print("{} calls in {:.3f} s ({} mode; modelled figures)", table.num_rows(), seconds, config.mode);
}

}  // namespace lowbank
