#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "core/stats.h"
#include "report/runs/claims.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

// What the publication's figures show; GPU is their base.
constexpr std::array<const char*, 4> kMainSystems = {"GPU", "GPU+Q", "GPU+PIM", "Pimba"};
constexpr double kNoticeableEffect = 0.01;  // smallest effect of a correction that is mentioned

struct TimeCategory {
  const char* key;
  const char* label;
};
constexpr std::array<TimeCategory, 7> kTimeCategories = {{{"state_update", "state update"},
                                                          {"gemv", "attention"},
                                                          {"gemm", "GEMM"},
                                                          {"causal_conv1d", "causal conv1d"},
                                                          {"discretization", "discretization"},
                                                          {"others", "others"},
                                                          {"comm", "communication"}}};

double category(const NamedNumbers& categories, std::string_view name) {
  for (const auto& [key, value] : categories) {
    if (key == name) return value;
  }
  return 0;
}

// "mamba2 2.7b", with a space at which the label under a group of columns can break.
std::string model_label(const ExperimentRow& row) {
  std::string label = row.model;
  std::replace(label.begin(), label.end(), '-', ' ');
  return label;
}

std::string batch_label(double batch_size) { return "batch " + format_count(batch_size); }

// "reference", or with corrections "reference + refresh"; two runs of one kind get their names.
std::string run_label(const ReportData& data, const ExperimentsRun& run) {
  const auto num_alike = std::count_if(
      data.experiments.begin(), data.experiments.end(),
      [&](const ExperimentsRun& other) { return other.provenance.mode == run.provenance.mode; });
  return num_alike > 1 ? fmt::format("{} ({})", run.provenance.mode, run.info.name)
                       : run.provenance.mode;
}

// The provenance with the error of the GPU times, which every figure that uses GPU times must
// state.
Provenance provenance_on(const ExperimentsRun& run, std::string_view gpu) {
  Provenance provenance = run.provenance;
  for (const ExperimentRow& row : run.rows) {
    if (row.gpu != gpu || !std::isfinite(row.gpu_time_error.median_frac)) continue;
    provenance.source += fmt::format("; GPU times: median error {}, 90th percentile {}",
                                     format_percent(row.gpu_time_error.median_frac, 2),
                                     format_percent(row.gpu_time_error.p90_frac, 2));
    break;
  }
  return provenance;
}

// A part of the experiments, and the runs that are shown next to each other.
struct Selection {
  std::vector<const ExperimentsRun*> runs;
  std::function<bool(const ExperimentRow&)> is_in;

  // The rows of the first run on plain GPUs, one for each task.
  std::vector<const ExperimentRow*> tasks() const {
    std::vector<const ExperimentRow*> rows;
    if (runs.empty()) return rows;
    for (const ExperimentRow& row : runs.front()->rows) {
      if (row.system == "GPU" && is_in(row)) rows.push_back(&row);
    }
    return rows;
  }

  std::vector<double> batches() const {
    std::vector<double> sizes;
    for (const ExperimentRow* row : tasks()) sizes.push_back(row->batch_size);
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return sizes;
  }
};

const ExperimentRow* find_row(const ExperimentsRun& run, const ExperimentRow& task,
                              std::string_view system) {
  for (const ExperimentRow& row : run.rows) {
    if (row.system == system && row.is_same_task(task)) return &row;
  }
  return nullptr;
}

// Upright bars of how many times better than GPU each system is, a panel for each batch and run.
Figure gain_figure(const ReportData& data, const Selection& selection, const std::string& id,
                   const std::string& title, const std::string& caption,
                   const std::vector<std::string>& systems, const std::string& value_label,
                   const std::function<double(const ExperimentRow&)>& cost) {
  Figure figure{.id = id, .title = title, .caption = caption, .has_columns = true};
  for (const double batch_size : selection.batches()) {
    for (const ExperimentsRun* run : selection.runs) {
      Panel panel{
          .title = fmt::format("{}, {} mode", batch_label(batch_size), run_label(data, *run)),
          .value_label = value_label};
      std::vector<std::vector<double>> gains(systems.size());
      for (const ExperimentRow* task : selection.tasks()) {
        const ExperimentRow* const base = find_row(*run, *task, "GPU");
        if (task->batch_size != batch_size || base == nullptr) continue;
        BarGroup group{.name = model_label(*task), .provenance = provenance_on(*run, task->gpu)};
        for (std::size_t i = 0; i < systems.size(); ++i) {
          const ExperimentRow* const row = find_row(*run, *task, systems[i]);
          if (row == nullptr) continue;
          const double gain = cost(*base) / cost(*row);
          if (!std::isfinite(gain)) continue;
          gains[i].push_back(gain);
          group.bars.push_back(
              {.name = systems[i], .segments = {gain}, .text = fmt::format("{:.2f}", gain)});
        }
        if (!group.bars.empty()) panel.groups.push_back(std::move(group));
      }
      if (panel.groups.empty()) continue;
      BarGroup means{.name = "geo. mean", .provenance = panel.groups.front().provenance};
      for (std::size_t i = 0; i < systems.size(); ++i) {
        if (gains[i].empty()) continue;
        const double mean = geometric_mean(gains[i]);
        means.bars.push_back(
            {.name = systems[i], .segments = {mean}, .text = fmt::format("{:.2f}", mean)});
      }
      panel.groups.push_back(std::move(means));
      figure.panels.push_back(std::move(panel));
    }
  }
  return figure;
}

// Lying bars, stacked from the parts of each experiment, a panel for each run and entry of
// `batches`; a bar for each batch, or for each system.
struct StackSpec {
  std::string id, title, caption, value_label;
  std::vector<std::string> segment_names;
  std::vector<std::string> systems;
  bool is_panel_per_batch = false;
  bool is_share = false;
};

Figure stack_figure(const ReportData& data, const Selection& selection, const StackSpec& spec,
                    const std::function<std::vector<double>(const ExperimentRow& row,
                                                            const ExperimentRow& base)>& segments) {
  Figure figure{.id = spec.id,
                .title = spec.title,
                .caption = spec.caption,
                .y_is_percent = spec.is_share,
                .segment_names = spec.segment_names};
  std::vector<double> batches = selection.batches();
  if (!spec.is_panel_per_batch && !batches.empty()) batches = {0};  // all of them in a panel
  for (const double batch_size : batches) {
    for (const ExperimentsRun* run : selection.runs) {
      Panel panel{
          .title = fmt::format("{}{} mode", batch_size > 0 ? batch_label(batch_size) + ", " : "",
                               run_label(data, *run)),
          .value_label = spec.value_label};
      for (const ExperimentRow* task : selection.tasks()) {
        const ExperimentRow* const base = find_row(*run, *task, "GPU");
        if (base == nullptr || (batch_size > 0 && task->batch_size != batch_size)) continue;
        const std::string name = model_label(*task);
        if (panel.groups.empty() || panel.groups.back().name != name) {
          panel.groups.push_back({.name = name, .provenance = provenance_on(*run, task->gpu)});
        }
        for (const std::string& system : spec.systems) {
          const ExperimentRow* const row = find_row(*run, *task, system);
          if (row == nullptr) continue;
          Bar bar{.name = spec.is_panel_per_batch ? system : batch_label(task->batch_size),
                  .segments = segments(*row, *base)};
          double sum = 0;
          for (const double part : bar.segments) sum += part;
          if (!spec.is_share) bar.text = fmt::format("{:.2f}", sum);
          panel.groups.back().bars.push_back(std::move(bar));
        }
      }
      if (!panel.groups.empty()) figure.panels.push_back(std::move(panel));
    }
  }
  return figure;
}

std::vector<double> time_parts(const ExperimentRow& row, double whole_s) {
  std::vector<double> parts;
  for (const TimeCategory& part : kTimeCategories) {
    parts.push_back(category(row.time_s, part.key) / whole_s);
  }
  return parts;
}

std::vector<std::string> time_part_names() {
  std::vector<std::string> names;
  for (const TimeCategory& part : kTimeCategories) names.emplace_back(part.label);
  return names;
}

std::vector<std::string> main_systems() { return {kMainSystems.begin(), kMainSystems.end()}; }

bool is_on(const ExperimentRow& row, std::string_view gpu, bool is_parallel) {
  return row.gpu == gpu && (row.num_gpus > 1) == is_parallel;
}

std::vector<Figure> pimba_figures(const ReportData& data,
                                  const std::vector<const ExperimentsRun*>& runs) {
  std::vector<Figure> figures;
  const auto of_time = [](const ExperimentRow& row) { return row.total_time_s(); };
  const auto has_state = [](const ExperimentRow& row) {
    return category(row.time_s, "state_update") > 0;
  };
  const Selection small{runs, [](const ExperimentRow& row) { return is_on(row, "A100", false); }};
  const Selection large{runs, [](const ExperimentRow& row) { return is_on(row, "A100", true); }};
  const Selection h100{runs, [](const ExperimentRow& row) { return is_on(row, "H100", true); }};
  const Selection small_states{
      runs, [&](const ExperimentRow& row) { return small.is_in(row) && has_state(row); }};
  const Selection small_states_128{runs, [&](const ExperimentRow& row) {
                                     return small_states.is_in(row) && row.batch_size == 128;
                                   }};
  const Selection large_128{
      runs, [&](const ExperimentRow& row) { return large.is_in(row) && row.batch_size == 128; }};
  const char* const throughput =
      "Tokens per second as a multiple of GPU's; the last group is the geometric mean.";

  figures.push_back(
      stack_figure(data, small_states,
                   {.id = "fig_pimba_03_time_shares",
                    .title = "Figure 3: where the time goes on a GPU",
                    .caption = "Shares of the time of generating on one A100, models with a state.",
                    .value_label = "share of time",
                    .segment_names = time_part_names(),
                    .systems = {"GPU"},
                    .is_share = true},
                   [](const ExperimentRow& row, const ExperimentRow&) {
                     return time_parts(row, row.total_time_s());
                   }));
  figures.push_back(gain_figure(
      data, small_states_128, "fig_pimba_05_state_update", "Figure 5: state updates in memory",
      "Speed-up of the state update over the GPU, one A100, batch 128; the last group is the "
      "geometric mean.",
      {"Time-multiplexed", "Pipelined"}, "state-update speed-up over GPU",
      [](const ExperimentRow& row) { return category(row.time_s, "state_update"); }));
  figures.push_back(gain_figure(data, small, "fig_pimba_12_throughput_small",
                                "Figure 12: throughput, small models on one A100", throughput,
                                main_systems(), "throughput over GPU", of_time));
  figures.push_back(gain_figure(data, large, "fig_pimba_12_throughput_70b",
                                "Figure 12: throughput, 70B models on several A100", throughput,
                                main_systems(), "throughput over GPU", of_time));
  figures.push_back(
      stack_figure(data, large,
                   {.id = "fig_pimba_13_time_70b",
                    .title = "Figure 13: time by category, 70B models",
                    .caption = "Time of generating on several A100, GPU's as the unit.",
                    .value_label = "time over GPU's",
                    .segment_names = time_part_names(),
                    .systems = main_systems(),
                    .is_panel_per_batch = true},
                   [](const ExperimentRow& row, const ExperimentRow& base) {
                     return time_parts(row, base.total_time_s());
                   }));
  figures.push_back(stack_figure(
      data, large_128,
      {.id = "fig_pimba_14_energy_70b",
       .title = "Figure 14: energy, 70B models",
       .caption =
           "Energy of generating on several A100 at batch 128, GPU's as the unit; state update and "
           "attention in memory and compute.",
       .value_label = "energy over GPU's",
       .segment_names = {"state update, memory", "state update, compute", "attention, memory",
                         "attention, compute", "GEMM", "others"},
       .systems = main_systems(),
       .is_panel_per_batch = true},
      [](const ExperimentRow& row, const ExperimentRow& base) {
        std::vector<double> parts = {
            category(row.memory_energy_pj, "state_update"),
            category(row.compute_energy_pj, "state_update"), category(row.memory_energy_pj, "gemv"),
            category(row.compute_energy_pj, "gemv"),
            category(row.memory_energy_pj, "gemm") + category(row.compute_energy_pj, "gemm")};
        double rest = row.total_energy_pj();
        for (const double part : parts) rest -= part;
        parts.push_back(std::max(rest, 0.0));
        for (double& part : parts) part /= base.total_energy_pj();
        return parts;
      }));
  figures.push_back(gain_figure(data, h100, "fig_pimba_16_throughput_h100",
                                "Figure 16: throughput, 70B models on several H100", throughput,
                                main_systems(), "throughput over GPU", of_time));
  std::erase_if(figures, [](const Figure& figure) { return figure.panels.empty(); });
  return figures;
}

std::string place_text(const SystemComparison::Pair& pair) {
  return fmt::format("{} at {}", pair.system->model, batch_label(pair.system->batch_size));
}

// Explains the largest gain: how much of the base's time moves into memory, and how fast memory is.
std::string share_text(const SystemComparison::Pair& pair) {
  const auto in_memory = [](const ExperimentRow& row) {
    return category(row.time_s, "state_update") + category(row.time_s, "gemv");
  };
  return fmt::format("there state update and attention are {} of {}'s time, and {:.2f}x as fast",
                     format_percent(in_memory(*pair.base) / pair.base->total_time_s()),
                     pair.base->system, in_memory(*pair.base) / in_memory(*pair.system));
}

// The effects of single corrections on a claim, from the runs of the report.
std::string effects_text(const std::vector<ClaimResult>& results, const ClaimResult& physical) {
  const auto reference = std::find_if(results.begin(), results.end(), [&](const auto& other) {
    return other.claim == physical.claim && other.run->mode == "reference" &&
           other.run->corrections.empty();
  });
  if (reference == results.end()) return "";
  std::vector<std::pair<double, std::string>> effects;
  for (const ClaimResult& other : results) {
    if (other.claim != physical.claim || other.run->corrections.size() != 1) continue;
    const double effect = other.value / reference->value - 1;
    if (std::abs(effect) < kNoticeableEffect) continue;
    effects.emplace_back(effect,
                         fmt::format("{} {:+.1f} %", other.run->corrections.front(), 100 * effect));
  }
  std::sort(effects.begin(), effects.end());
  std::vector<std::string> texts;
  for (const auto& [effect, text] : effects) texts.push_back(text);
  return fmt::format("; {:+.1f} % against reference mode{}",
                     100 * (physical.value / reference->value - 1),
                     texts.empty() ? "" : fmt::format(" (one by one: {})", fmt::join(texts, ", ")));
}

Table claims_table(const ReportData& data) {
  Table table{.id = "table_claims",
              .caption =
                  "What the publications state and what the models give; averages are geometric "
                  "means",
              .columns = {{"claim", "claim"},
                          {"mode", "mode"},
                          {"published", "published", CellFormat::kNumber},
                          {"value", "found", CellFormat::kNumber},
                          {"is_reached", "reached"},
                          {"num_experiments", "experiments", CellFormat::kInteger},
                          {"why", "where and why"}}};
  const std::vector<ClaimResult> results = check_claims(data);
  const auto is_plain = [](const ClaimResult& result) { return result.run->corrections.empty(); };
  for (const Claim& claim : published_claims()) {
    if (claim.why_not[0] != '\0') {
      table.add({claim.text, "none", claim.published, {}, "cannot be compared", {}, claim.why_not},
                {.kind = Provenance::Kind::kModelled,
                 .mode = "no",
                 .source = "none, the published figure alone"});
      continue;
    }
    for (const ClaimResult& result : results) {
      if (result.claim != &claim || !is_plain(result)) continue;
      const SystemComparison& comparison = result.comparison;
      std::string why =
          claim.is_most
              ? fmt::format("{}: {}", place_text(comparison.most()), share_text(comparison.most()))
              : fmt::format("from {:.2f} ({}) to {:.2f} ({}); arithmetic mean {:.2f}",
                            comparison.least().gain, place_text(comparison.least()),
                            comparison.most().gain, place_text(comparison.most()),
                            comparison.arithmetic_mean());
      if (result.run->mode == "physical") why += effects_text(results, result);
      table.add({claim.text, run_label(data, *result.run), claim.published, result.value,
                 result.is_reached() ? "yes" : "no", static_cast<double>(comparison.pairs.size()),
                 std::move(why)},
                provenance_on(*result.run, claim.gpu));
    }
  }
  return table;
}

// A row for each run: what single corrections do to the claims.
Table corrections_table(const ReportData& data) {
  Table table{
      .id = "table_corrections",
      .caption = "The claims with each correction by itself; largest gain, or geometric mean",
      .columns = {{"run", "correction"}}};
  const auto has_corrections = [](const ExperimentsRun& run) { return !run.corrections.empty(); };
  if (std::none_of(data.experiments.begin(), data.experiments.end(), has_corrections)) {
    return table;
  }
  const std::vector<ClaimResult> results = check_claims(data);
  for (const Claim& claim : published_claims()) {
    const auto is_of_claim = [&](const ClaimResult& result) { return result.claim == &claim; };
    if (std::any_of(results.begin(), results.end(), is_of_claim)) {
      table.columns.push_back({claim.key, claim.text, CellFormat::kNumber});
    }
  }
  for (const ExperimentsRun& run : data.experiments) {
    std::vector<TableCell> cells = {run.corrections.empty()
                                        ? fmt::format("({} mode)", run_label(data, run))
                                        : fmt::format("{}", fmt::join(run.corrections, " + "))};
    for (std::size_t i = 1; i < table.columns.size(); ++i) {
      const auto found = std::find_if(results.begin(), results.end(), [&](const auto& result) {
        return result.run == &run && result.claim->key == table.columns[i].key;
      });
      cells.emplace_back(found == results.end() ? kNotReported : found->value);
    }
    table.add(std::move(cells), run.provenance);
  }
  return table;
}

Table experiments_table(const std::vector<const ExperimentsRun*>& runs) {
  Table table{
      .id = "table_experiments",
      .caption = "Every experiment; gains over GPU, above 1 is better",
      .columns = {{"run", "run"},
                  {"gpu", "GPU"},
                  {"num_gpus", "GPUs", CellFormat::kInteger},
                  {"model", "model"},
                  {"batch_size", "batch", CellFormat::kInteger},
                  {"input_tokens", "input", CellFormat::kInteger},
                  {"output_tokens", "output", CellFormat::kInteger},
                  {"system", "system"},
                  {"time_s", "time", CellFormat::kSeconds},
                  {"tokens_per_s", "tokens/s", CellFormat::kNumber},
                  {"throughput_over_gpu", "throughput gain", CellFormat::kNumber},
                  {"energy_pj", "energy", CellFormat::kEnergy},
                  {"energy_gain_over_gpu", "energy gain", CellFormat::kNumber},
                  {"gpu_time_error_median_frac", "GPU time error, median", CellFormat::kPercent},
                  {"gpu_time_error_p90_frac", "90th percentile", CellFormat::kPercent}},
      .is_long = true};
  for (const ExperimentsRun* run : runs) {
    for (const ExperimentRow& row : run->rows) {
      const ExperimentRow* const base = find_row(*run, row, "GPU");
      table.add({run->info.name, row.gpu, row.num_gpus, row.model, row.batch_size, row.input_tokens,
                 row.output_tokens, row.system, row.total_time_s(), row.tokens_per_s(),
                 base == nullptr ? kNotReported : row.tokens_per_s() / base->tokens_per_s(),
                 row.total_energy_pj(),
                 base == nullptr ? kNotReported : base->total_energy_pj() / row.total_energy_pj(),
                 row.gpu_time_error.median_frac, row.gpu_time_error.p90_frac},
                run->provenance);
    }
  }
  return table;
}

// "A100 in physical mode: ..." once for each GPU and run.
std::vector<std::string> error_notes(const ReportData& data,
                                     const std::vector<const ExperimentsRun*>& runs) {
  std::vector<std::string> notes;
  for (const ExperimentsRun* run : runs) {
    for (const ExperimentRow& row : run->rows) {
      if (!std::isfinite(row.gpu_time_error.median_frac)) continue;
      std::string note = fmt::format(
          "{}, {} mode: against measured matrix products GPU times have a median error of {} and a "
          "90th percentile of {}",
          row.gpu, run_label(data, *run), format_percent(row.gpu_time_error.median_frac, 2),
          format_percent(row.gpu_time_error.p90_frac, 2));
      if (std::find(notes.begin(), notes.end(), note) == notes.end()) {
        notes.push_back(std::move(note));
      }
    }
  }
  return notes;
}

}  // namespace

Section experiments_section(const ReportData& data) {
  Section section{.id = "experiments",
                  .title = "The experiments of a published simulator (modelled)"};
  if (data.experiments.empty()) return section;
  std::vector<const ExperimentsRun*> runs;
  for (const ExperimentsRun& run : data.experiments) {
    if (run.corrections.empty()) runs.push_back(&run);
  }
  section.figures = pimba_figures(data, runs);
  if (!section.figures.empty()) {
    section.paragraphs.emplace_back(
        "Figures have the numbers of Pimba's publication (MICRO 2025). Reference mode follows its "
        "simulator, quirks included; physical mode corrects what is known to be wrong in it. "
        "Systems: GPU with 2-byte states, GPU+Q with 1-byte states, GPU+PIM with HBM-PIM units and "
        "2-byte states, Pimba with its units and 1-byte states.");
  }
  Table claims = claims_table(data);
  const auto is_found = [](const TableRow& row) {
    return std::holds_alternative<double>(row.cells[3]);
  };
  if (std::any_of(claims.rows.begin(), claims.rows.end(), is_found)) {
    section.tables.push_back(std::move(claims));
  }
  if (Table table = corrections_table(data); !table.rows.empty()) {
    section.tables.push_back(std::move(table));
  }
  if (Table table = experiments_table(runs); !table.rows.empty()) {
    section.tables.push_back(std::move(table));
  }
  section.notes = error_notes(data, runs);
  return section;
}

}  // namespace lowbank::report
