#include "pim/estimate_tables.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/results/estimate_result.h"
#include "config/results/experiment_line.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/suggest.h"
#include "core/text.h"
#include "pim/csv_table.h"
#include "pim/experiment.h"
#include "pim/gpu_fit.h"
#include "pim/gpu_kernel_fit.h"
#include "pim/hbm_pim.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank::pim {
namespace {

using Json = nlohmann::ordered_json;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The table goes into the run folder, or is the one file that `out` names.
void write_table(const TableOptions& options, RunDir* out, const char* name,
                 const std::string& text) {
  if (out != nullptr) {
    out->begin();
    out->write(name, text);
  } else {
    write_file(options.out, text);
  }
}

// The same error, with the line that it is about; errors of a table's numbers have it already.
template <class Work>
auto at_line(const std::string& where, Work&& work) {
  try {
    return work();
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", where, e.what()));
  }
}

std::string percent(const GpuTimeError& error) {
  return fmt::format("{:.1f} and {:.1f} %", 100 * error.median_frac, 100 * error.p90_frac);
}

GpuErrorFigures error_figures(const GpuTimeError& error) {
  return {.median_frac = error.median_frac, .p90_frac = error.p90_frac};
}

Json to_json(const GpuTimeError& error) { return to_json(error_figures(error).fields()); }

// Keys that a result line has in addition to those of its experiment. An input line that has them
// is an earlier result, and gets new values.
std::vector<std::string> figure_keys() { return field_keys(ExperimentFigures().fields()); }

Experiment read_experiment(const JsonReader& reader) {
  std::vector<std::string> known = field_keys(ExperimentTask().fields());
  for (const std::string& key : figure_keys()) known.push_back(key);
  reader.check_keys(known);
  const auto count = [&](const char* key, std::int64_t most = kMaxDimension) {
    return reader.integer(key, 1, most);
  };
  return {.model = reader.text("model"),
          .batch_size = count("batch_size"),
          .system = reader.text("system"),
          .gpu = reader.text("gpu"),
          .num_gpus = count("num_gpus"),
          .input_tokens = count("input_tokens"),
          .output_tokens = count("output_tokens", kMaxOutputTokens)};
}

// The line as it came, with the figures added.
Json result_line(const Json& line, const ExperimentCost& cost, const std::string& mode,
                 const GpuTimeError& error) {
  ExperimentFigures figures{.mode = mode, .gpu_time_error = error_figures(error)};
  for (const auto& [category, part] : cost.parts) {
    figures.time_s.emplace_back(category, part.time_s);
    figures.memory_energy_pj.emplace_back(category, part.memory_pj);
    figures.compute_energy_pj.emplace_back(category, part.compute_pj);
  }
  Json result = line;
  for (const std::string& key : figure_keys()) result.erase(key);
  result.update(to_json(figures.fields()));
  return result;
}

// How two systems compare over the experiments that both were asked.
struct Comparison {
  std::string gpu, system, base;
  std::int64_t num_pairs = 0;
  double mean_speedup = 0, most_speedup = 0;
  double mean_energy_gain = 0, most_energy_gain = 0;
};

struct PricedExperiment {
  Experiment experiment;
  double time_s = 0;
  double energy_pj = 0;
};

std::vector<Comparison> compare_systems(const std::vector<PricedExperiment>& priced) {
  const auto place = [](const Experiment& e) {
    return std::tuple(e.gpu, e.model, e.batch_size, e.num_gpus, e.input_tokens, e.output_tokens);
  };
  std::map<std::string, std::map<decltype(place(Experiment())), const PricedExperiment*>> by_system;
  for (const auto& entry : priced) {
    by_system[entry.experiment.system][place(entry.experiment)] = &entry;
  }
  std::vector<Comparison> comparisons;
  for (const auto& gpu : reference_gpu_names()) {
    for (const char* const base : {"GPU", "GPU+PIM"}) {
      for (const auto& system : reference_system_names()) {
        const bool is_plain = system == "GPU" || system == "GPU+Q";
        if (system == base || (is_plain && std::string(base) != "GPU")) continue;
        Comparison sum{.gpu = gpu, .system = system, .base = base};
        for (const auto& [where, entry] : by_system[system]) {
          const auto rival = by_system[base].find(where);
          if (std::get<0>(where) != gpu || rival == by_system[base].end()) continue;
          const double speedup = rival->second->time_s / entry->time_s;
          const double gain = rival->second->energy_pj / entry->energy_pj;
          ++sum.num_pairs;
          sum.mean_speedup += speedup;
          sum.most_speedup = std::max(sum.most_speedup, speedup);
          sum.mean_energy_gain += gain;
          sum.most_energy_gain = std::max(sum.most_energy_gain, gain);
        }
        if (sum.num_pairs == 0) continue;
        sum.mean_speedup /= static_cast<double>(sum.num_pairs);
        sum.mean_energy_gain /= static_cast<double>(sum.num_pairs);
        comparisons.push_back(sum);
      }
    }
  }
  return comparisons;
}

Json to_json(const Comparison& c) {
  return {{"gpu", c.gpu},
          {"system", c.system},
          {"base", c.base},
          {"num_pairs", c.num_pairs},
          {"mean_speedup", c.mean_speedup},
          {"most_speedup", c.most_speedup},
          {"mean_energy_gain", c.mean_energy_gain},
          {"most_energy_gain", c.most_energy_gain}};
}

PimKind pim_kind(const std::string& name) {
  if (name == "SU") return PimKind::kStateUpdate;
  if (name == "SCORE") return PimKind::kScore;
  if (name == "ATTEND") return PimKind::kAttend;
  throw ConfigError(fmt::format("op_type: must be one of SU, SCORE, ATTEND; got '{}'", name));
}

// The units of a call are next to the banks of an A100's memory with as many channels as it says.
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

// "A100" -> "gpu-a100": the preset of a GPU by its name in tables.
std::string gpu_file_name(const std::string& gpu) {
  std::string name = "gpu-" + gpu;
  for (char& c : name) {
    c = c == ' ' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return name;
}

// A GPU by its name in tables, or a preset of kind gpu by name or file.
SystemPreset gpu_preset(const std::string& gpu) {
  const std::vector<std::string> known = system_names();
  const std::string file = gpu_file_name(gpu);
  const bool is_known = std::find(known.begin(), known.end(), file) != known.end();
  SystemPreset preset = load_preset(is_known ? file : gpu);
  if (preset.kind != SystemKind::kGpu) {
    throw ConfigError(
        fmt::format("gpu: '{}' is of kind {}, not gpu", gpu, system_kind_name(preset.kind)));
  }
  return preset;
}

void check_dtype(const std::string& dtype) {
  if (dtype != "f16" && dtype != "bf16") {
    throw ConfigError(fmt::format("dtype: must be f16 or bf16; got '{}'", dtype));
  }
}

std::string data_name(const std::string& path) {
  return fmt::format("{} (xxh3 {})", std::filesystem::path(path).filename().string(),
                     hash_file(path).substr(0, 16));
}

CsvTable read_kernel_table(const std::string& path, bool is_timed) {
  std::vector<std::string> columns = kernel_columns(kernel_table_of(CsvTable::read(path, {"gpu"})));
  if (is_timed) columns.emplace_back("time_ms");
  return CsvTable::read(path, columns);
}

// Operators of a table that is not of products.
void estimate_kernels(const CsvTable& table, const TableOptions& options, RunDir* out,
                      Metrics& metrics) {
  if (!make_corrections(options.mode, options.correct).fused_kernels) {
    throw ConfigError("operators: reference mode has rules for products, norms and activations");
  }
  std::map<std::string, SystemPreset> presets;
  std::vector<std::vector<std::string>> cells;
  const auto kernels = read_timed_kernels(table);
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    if (!kernels[row]) {
      cells.push_back({""});
      continue;
    }
    const double time_s = at_line(table.where(row), [&] {
      auto preset = presets.find(kernels[row]->gpu);
      if (preset == presets.end()) {
        preset = presets.emplace(kernels[row]->gpu, gpu_preset(kernels[row]->gpu)).first;
      }
      return timed_kernel_s(preset->second, *kernels[row]);
    });
    cells.push_back({fmt::format("{}", time_s * 1e3)});
  }
  write_table(options, out, "operators.csv", table.with_columns({"time_ms"}, cells));
  metrics = {{"provenance", "modelled"},
             {"mode", mode_name(options.mode)},
             {"correct", options.correct},
             {kNumOperatorsKey, table.num_rows()}};
  print("{} operators ({} mode; modelled figures)", table.num_rows(), mode_name(options.mode));
}

// One preset a GPU, or that of `base`; GPUs without one are left out if others have one.
void fit_kernel_table(const CsvTable& table, const std::string& path, const std::string& base,
                      const TableOptions& options, RunDir* out, Metrics& metrics) {
  std::vector<std::pair<std::string, std::vector<TimedKernel>>> by_gpu;
  for (auto& kernel : read_timed_kernels(table)) {
    if (!kernel) continue;
    auto entry = std::find_if(by_gpu.begin(), by_gpu.end(),
                              [&](const auto& known) { return known.first == kernel->gpu; });
    if (entry == by_gpu.end()) entry = by_gpu.insert(by_gpu.end(), {kernel->gpu, {}});
    entry->second.push_back(std::move(*kernel));
  }
  if (!base.empty()) {
    const std::string name = load_preset(base).name;
    const auto is_mine = [&](const auto& entry) { return gpu_file_name(entry.first) == name; };
    if (by_gpu.size() > 1 && std::any_of(by_gpu.begin(), by_gpu.end(), is_mine)) {
      std::erase_if(by_gpu, [&](const auto& entry) { return !is_mine(entry); });
    }
  }
  if (by_gpu.size() != 1 && (out == nullptr || !base.empty())) {
    throw ConfigError(
        fmt::format("{}: tells of {} GPUs; one file, or one system to start from, takes one", path,
                    by_gpu.size()));
  }
  metrics = {{"provenance", "modelled"}, {kGpuFitsKey, Json::array()}};
  if (out != nullptr) out->begin();
  for (const auto& [gpu, kernels] : by_gpu) {
    const KernelFit fit =
        fit_kernels(gpu_preset(base.empty() ? gpu : base), kernels, data_name(path));
    const std::string text = preset_to_json(fit.preset);
    if (out != nullptr) {
      out->write(fit.preset.name + ".json", text);
    } else {
      write_file(options.out, text);
    }
    for (const SystemPreset& links : fit.links) {
      if (out != nullptr) out->write(links.name + ".json", preset_to_json(links));
    }
    Json kinds = Json::array();
    for (const KindFit& kind : fit.kinds) {
      kinds.push_back({{"kind", kind.kind},
                       {"num_kernels", kind.num_kernels},
                       {"num_usual", kind.num_usual},
                       {"is_fitted", kind.is_fitted},
                       {"held_out", to_json(kind.held_out)}});
      print("{}: {}, {} kernels, {} of usual size; {}: {}", fit.preset.name, kind.kind,
            kind.num_kernels, kind.num_usual, kind.is_fitted ? "shapes held out" : "not fitted",
            percent(kind.held_out));
      for (const auto& [source, error] : kind.by_source) {
        kinds.back()["by_source"][source] = to_json(error);
        print("  {}: {}", source, percent(error));
      }
    }
    metrics[kGpuFitsKey].push_back({{"preset", fit.preset.name}, {"kinds", std::move(kinds)}});
  }
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

void estimate_experiments(const std::string& path, const TableOptions& options, RunDir* out,
                          Metrics& metrics) {
  const auto start = std::chrono::steady_clock::now();
  const Corrections corrections = make_corrections(options.mode, options.correct);
  std::map<std::pair<std::string, std::string>, ExperimentSystem> systems;
  std::string text;
  std::vector<PricedExperiment> priced;
  std::size_t line_number = 0;
  const std::string input = read_regular_text(path);
  for (const std::string_view line : split_lines(input)) {
    const std::string where = fmt::format("{}: line {}", path, ++line_number);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const JsonReader reader(parse_json(line, where), where);
    const Experiment experiment = read_experiment(reader);
    text += at_line(where, [&] {
      const auto key = std::pair(experiment.system, experiment.gpu);
      auto system = systems.find(key);
      if (system == systems.end()) {
        system = systems.try_emplace(key, experiment.system, experiment.gpu, corrections).first;
      }
      const ExperimentCost result = system->second.price(experiment);
      if (!std::isfinite(result.time_s()) || !std::isfinite(result.energy_pj())) {
        throw ConfigError("the figures leave the range of numbers");
      }
      priced.push_back({experiment, result.time_s(), result.energy_pj()});
      const GpuTimeError error = system->second.gpu_time_error();
      return result_line(reader.value(), result, mode_name(options.mode), error).dump() + "\n";
    });
  }
  if (priced.empty()) throw IoError(path + ": has no experiments");
  write_table(options, out, "experiments.jsonl", text);
  const double seconds = seconds_since(start);
  metrics = {{"provenance", "modelled"},     {"mode", mode_name(options.mode)},
             {"correct", options.correct},   {kNumExperimentsKey, priced.size()},
             {"comparisons", Json::array()}, {"seconds", seconds}};
  print("{} experiments in {:.3f} s ({} mode; modelled figures)", priced.size(), seconds,
        mode_name(options.mode));
  for (const Comparison& c : compare_systems(priced)) {
    metrics["comparisons"].push_back(to_json(c));
    print(
        "{}: {} over {}: {:.2f} x as fast on average, up to {:.2f} x; energy {:.2f} x, up to "
        "{:.2f} x ({} experiments)",
        c.gpu, c.system, c.base, c.mean_speedup, c.most_speedup, c.mean_energy_gain,
        c.most_energy_gain, c.num_pairs);
  }
}

void estimate_pim_calls(const std::string& path, const TableOptions& options, RunDir* out,
                        Metrics& metrics) {
  const auto start = std::chrono::steady_clock::now();
  const Corrections corrections = make_corrections(options.mode, options.correct);
  const CsvTable table = CsvTable::read(
      path, {"hw", "op_type", "num_op", "head_dim", "state_dim", "dbyte", "channels"});
  std::map<std::pair<std::string, std::int64_t>, HbmPimModel> models;
  std::vector<std::vector<std::string>> cells;
  std::string trace;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const auto key = std::pair(table.text(row, "hw"), table.count(row, "channels"));
    PimCall call = {.num_op = table.count(row, "num_op"),
                    .head_dim = table.count(row, "head_dim"),
                    .state_dim = table.count(row, "state_dim"),
                    .element_bytes = table.count(row, "dbyte")};
    const PimCounts counts = at_line(table.where(row), [&] {
      auto model = models.find(key);
      if (model == models.end()) {
        model = models.emplace(key, call_model(key.first, key.second, corrections)).first;
      }
      call.kind = pim_kind(table.text(row, "op_type"));
      if (!options.trace.empty()) {
        trace +=
            fmt::format("# {}\n{}", printable(table.line(row)), trace_text(model->second, call));
      }
      return model->second.count(call);
    });
    cells.push_back({std::to_string(counts.cycles), std::to_string(counts.num_activations),
                     std::to_string(counts.num_computes), std::to_string(counts.num_transfers)});
  }
  write_table(options, out, "pim_calls.csv",
              table.with_columns({"cycles", "num_act", "num_comp", "num_rdwr"}, cells));
  if (!options.trace.empty()) write_file(options.trace, trace);
  const double seconds = seconds_since(start);
  metrics = {{"provenance", "modelled"},
             {"mode", mode_name(options.mode)},
             {"correct", options.correct},
             {kNumPimCallsKey, table.num_rows()},
             {"seconds", seconds}};
  print("{} calls in {:.3f} s ({} mode; modelled figures)", table.num_rows(), seconds,
        mode_name(options.mode));
}

void estimate_operators(const std::string& path, const TableOptions& options, RunDir* out,
                        Metrics& metrics) {
  const Corrections corrections = make_corrections(options.mode, options.correct);
  const CsvTable table = read_kernel_table(path, /*is_timed=*/false);
  if (kernel_table_of(table) != KernelTable::kProducts) {
    estimate_kernels(table, options, out, metrics);
    return;
  }
  std::map<std::string, GpuModel> models;
  std::vector<std::vector<std::string>> cells;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::int64_t m = table.count(row, "m");
    const std::int64_t n = table.count(row, "n");
    const std::int64_t k = table.count(row, "k");
    const double time_s = at_line(table.where(row), [&] {
      const std::string& gpu = table.text(row, "gpu");
      auto model = models.find(gpu);
      if (model == models.end()) {
        model = models.try_emplace(gpu, gpu_preset(gpu), corrections).first;
      }
      check_dtype(table.text(row, "dtype"));
      return kernel_s(model->second, table.text(row, "kind"), m, n, k);
    });
    cells.push_back({fmt::format("{}", time_s * 1e3)});
  }
  write_table(options, out, "operators.csv", table.with_columns({"time_ms"}, cells));
  metrics = {{"provenance", "modelled"},
             {"mode", mode_name(options.mode)},
             {"correct", options.correct},
             {kNumOperatorsKey, table.num_rows()},
             {"gpu_time_errors", Json::object()}};
  print("{} operators ({} mode; modelled figures)", table.num_rows(), mode_name(options.mode));
  for (const auto& [gpu, model] : models) {
    metrics["gpu_time_errors"][gpu] = to_json(model.time_error());
    print("- {}: median error and 90th percentile on measured products: {}", gpu,
          percent(model.time_error()));
  }
}

void fit_gpus(const std::string& path, const std::string& base, const TableOptions& options,
              RunDir* out, Metrics& metrics) {
  const CsvTable table = read_kernel_table(path, /*is_timed=*/true);
  if (kernel_table_of(table) != KernelTable::kProducts) {
    fit_kernel_table(table, path, base, options, out, metrics);
    return;
  }
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::int64_t m = table.count(row, "m");
    const std::int64_t n = table.count(row, "n");
    const std::int64_t k = table.count(row, "k");
    at_line(table.where(row), [&] {
      check_dtype(table.text(row, "dtype"));
      check_operator_size(m, n, k);
      return 0;
    });
  }
  const auto measured = read_measured_kernels(table);
  if (measured.size() != 1 && (out == nullptr || !base.empty())) {
    throw ConfigError(
        fmt::format("{}: tells of {} GPUs; one file, or one system to start from, "
                    "takes one",
                    path, measured.size()));
  }
  std::vector<GpuFit> fits;
  for (const auto& [gpu, kernels] : measured) {
    fits.push_back(fit_gpu(gpu_preset(base.empty() ? gpu : base), kernels, data_name(path)));
  }

  metrics = {{"provenance", "modelled"}, {kGpuFitsKey, Json::array()}};
  if (out != nullptr) out->begin();
  for (const GpuFit& fit : fits) {
    const std::string text = preset_to_json(fit.preset);
    if (out != nullptr) {
      out->write(fit.preset.name + ".json", text);
    } else {
      write_file(options.out, text);
    }
    metrics[kGpuFitsKey].push_back({{"preset", fit.preset.name},
                                    {"num_products", fit.num_products},
                                    {"models", fit.models},
                                    {"held_out_by", fit.held_out_by},
                                    {"held_out", to_json(fit.held_out)},
                                    {"fitted", to_json(fit.fitted)},
                                    {"reference", to_json(fit.reference)}});
    print("{}: {} matrix products; median error and 90th percentile:", fit.preset.name,
          fit.num_products);
    print("  held out by {}: {}; fitted to: {}; the reference's rule: {}", fit.held_out_by,
          percent(fit.held_out), percent(fit.fitted), percent(fit.reference));
  }
}

}  // namespace lowbank::pim
