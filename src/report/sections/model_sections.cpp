#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "core/progress.h"
#include "core/text.h"
#include "report/sections/labels.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

constexpr double kSmoothingFrac = 1.0 / 25;  // of a run: long enough to see the trend

// Exponential moving average, unbiased from the first point on.
std::vector<Point> smoothed(const std::vector<std::pair<double, double>>& values) {
  const double window = std::max(1.0, kSmoothingFrac * static_cast<double>(values.size()));
  const double keep = 1 - 1 / window;
  double sum = 0;
  double weight = 0;
  std::vector<Point> out;
  for (const auto& [step, value] : values) {
    if (!std::isfinite(value)) continue;
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    out.push_back({.x = step, .y = sum / weight});
  }
  return out;
}

std::vector<Point> as_points(const std::vector<std::pair<double, double>>& values) {
  std::vector<Point> out;
  for (const auto& [x, y] : values) out.push_back({.x = x, .y = y});
  return out;
}

std::string run_title(const ReportData& data, const RunInfo& run) {
  const std::string label = model_label(data, run);
  return label == run.name ? run.name : fmt::format("{}: {}", run.name, label);
}

// "model.layers.3.mlp.up_proj" -> 3; -1 without a block number.
double block_of(const std::string& path) {
  for (std::size_t at = path.find('.'); at != std::string::npos; at = path.find('.', at + 1)) {
    std::size_t end = at + 1;
    while (end < path.size() && end - at < 7 &&
           std::isdigit(static_cast<unsigned char>(path[end])) != 0) {
      ++end;
    }
    if (end > at + 1 && end < path.size() && path[end] == '.') {
      return std::stod(path.substr(at + 1, end - at - 1));
    }
  }
  return -1;
}

double mean_relative_error(const CompressRun& run) {
  double sum = 0;
  double count = 0;
  for (const CompressMetrics::Linear& linear : run.linears) {
    if (!std::isfinite(linear.relative_error)) continue;
    sum += linear.relative_error;
    ++count;
  }
  return count > 0 ? sum / count : kNotReported;
}

Figure error_figure(const ReportData& data) {
  Figure figure{.id = "fig_factor_error",
                .title = "What the factors miss",
                .caption =
                    "Relative error of each factored linear, |W - U S V| / |W| in the "
                    "Frobenius norm, over the blocks of the model.",
                .x_label = "block",
                .y_label = "relative error",
                .x_is_count = true};
  for (const CompressRun& run : data.compressions) {
    std::map<std::string, std::vector<Point>> by_role;
    std::vector<std::string> roles;
    for (const CompressMetrics::Linear& linear : run.linears) {
      const double block = block_of(linear.path);
      if (block < 0 || !std::isfinite(linear.relative_error)) continue;
      const std::string role = linear.path.substr(linear.path.rfind('.') + 1);
      if (!by_role.contains(role)) roles.push_back(role);
      by_role[role].push_back({.x = block, .y = linear.relative_error});
    }
    Panel panel{.title = run_title(data, run.info), .provenance = run.info.provenance};
    for (const std::string& role : roles) {
      panel.series.push_back({.name = role, .points = by_role[role]});
    }
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
  }
  return figure;
}

Table linears_table(const CompressRun& run) {
  Table table{.id = "table_linears_" + run.info.name,
              .caption = fmt::format("Every factored linear of {}", run.info.name),
              .columns = {{"path", "linear"},
                          {"kind", "kind"},
                          {"out", "out", CellFormat::kInteger},
                          {"in", "in", CellFormat::kInteger},
                          {"rank", "rank", CellFormat::kInteger},
                          {"break_even_rank", "break-even rank", CellFormat::kInteger},
                          {"params_before", "parameters before", CellFormat::kInteger},
                          {"params_after", "after", CellFormat::kInteger},
                          {"relative_error", "relative error", CellFormat::kNumber}},
              .is_long = true};
  for (const CompressMetrics::Linear& linear : run.linears) {
    table.add(
        {linear.path, linear.kind, linear.out_features, linear.in_features, linear.rank,
         linear.break_even_rank, linear.params_before, linear.params_after, linear.relative_error},
        run.info.provenance);
  }
  return table;
}

}  // namespace

Section perplexity_section(const ReportData& data) {
  Section section{.id = "perplexity", .title = "Perplexity of each checkpoint"};
  if (data.evaluations.empty()) return section;
  Table table{.id = "table_perplexity",
              .caption = "Perplexity on held-out text",
              .columns = {{"run", "run"},
                          {"checkpoint", "checkpoint"},
                          {"model", "model"},
                          {"data", "text"},
                          {"context_tokens", "context", CellFormat::kInteger},
                          {"num_predicted", "predicted tokens", CellFormat::kInteger},
                          {"perplexity", "perplexity", CellFormat::kNumber},
                          {"word_perplexity", "per word", CellFormat::kNumber},
                          {"bits_per_byte", "bits per byte", CellFormat::kNumber},
                          {"tokens_per_second", "tokens/s", CellFormat::kNumber}}};
  bool is_one_protocol = true;
  for (const EvaluateRun& run : data.evaluations) {
    const RunInfo* const checkpoint = data.find_checkpoint(run.info);
    table.add({run.info.name, checkpoint == nullptr ? run.info.checkpoint : checkpoint->name,
               model_label(data, run.info), run.data, run.context, run.num_predicted,
               run.perplexity, run.word_perplexity, run.bits_per_byte, run.tokens_per_second},
              run.info.provenance);
    is_one_protocol &= run.protocol == data.evaluations.front().protocol;
  }
  section.paragraphs.push_back(
      "Perplexity is the exponential of the mean negative log-likelihood of a token: the number of "
      "equally likely tokens that would puzzle the model as much. Lower is better.");
  if (!is_one_protocol) {
    section.paragraphs.push_back(
        "The rows differ in text or in how it is cut; compare only rows that agree in both.");
  }
  section.tables.push_back(std::move(table));
  return section;
}

Section training_section(const ReportData& data) {
  Section section{.id = "training", .title = "Training"};
  if (data.trainings.empty()) return section;
  Figure figure{.id = "fig_training_loss",
                .title = "Loss against step",
                .caption =
                    "Loss (nats per token) of each training run: every step, its "
                    "exponential moving average, and held-out text.",
                .x_label = "step",
                .y_label = "loss, nats per token",
                .x_is_count = true,
                .share_y = false};
  Table table{
      .id = "table_training",
      .caption = "Training runs",
      .columns = {{"run", "run"},
                  {"stage", "stage"},
                  {"model", "model"},
                  {"steps", "steps", CellFormat::kInteger},
                  {"num_tokens", "tokens", CellFormat::kInteger},
                  {"start_valid_perplexity", "held-out perplexity before", CellFormat::kNumber},
                  {"valid_perplexity", "after", CellFormat::kNumber},
                  {"seconds", "time", CellFormat::kSeconds}}};
  for (const TrainingRun& run : data.trainings) {
    Panel panel{.title = run_title(data, run.info), .provenance = run.info.provenance};
    if (!run.loss.empty()) {
      panel.series.push_back(
          {.name = "training, smoothed", .points = smoothed(run.loss), .has_markers = false});
    }
    if (!run.valid_loss.empty()) {
      panel.series.push_back({.name = "held-out", .points = as_points(run.valid_loss)});
    }
    if (!run.loss.empty()) {
      panel.series.push_back({.name = "training, each step",
                              .points = as_points(run.loss),
                              .has_markers = false,
                              .is_faint = true});
    }
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
    table.add({run.info.name, run.info.stage, model_label(data, run.info), run.steps,
               run.num_tokens, run.start_valid_perplexity, run.valid_perplexity, run.info.seconds},
              run.info.provenance);
  }
  if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
  section.tables.push_back(std::move(table));
  return section;
}

Section compression_section(const ReportData& data) {
  Section section{.id = "compression", .title = "Factoring"};
  if (data.compressions.empty()) return section;
  section.paragraphs.push_back(
      "Each chosen linear W [out, in] becomes two smaller ones of a given rank. At the break-even "
      "rank, out*in/(out+in), both together have as many parameters as W; below it they have "
      "fewer.");
  Table table{.id = "table_compression",
              .caption = "Factored models",
              .columns = {{"run", "run"},
                          {"method", "method"},
                          {"rank_policy", "rank"},
                          {"num_linears", "linears", CellFormat::kInteger},
                          {"params_before", "parameters before", CellFormat::kInteger},
                          {"params_after", "after", CellFormat::kInteger},
                          {"kept_frac", "kept", CellFormat::kPercent},
                          {"mean_relative_error", "mean relative error", CellFormat::kNumber},
                          {"seconds", "time", CellFormat::kSeconds}}};
  for (const CompressRun& run : data.compressions) {
    table.add({run.info.name, run.method, rank_policy_label(run.rank_policy),
               static_cast<double>(run.linears.size()), run.params_before, run.params_after,
               run.params_after / run.params_before, mean_relative_error(run), run.seconds},
              run.info.provenance);
  }
  section.tables.push_back(std::move(table));
  if (Figure figure = error_figure(data); !figure.panels.empty()) {
    section.figures.push_back(std::move(figure));
  }
  for (const CompressRun& run : data.compressions) {
    if (!run.linears.empty()) section.tables.push_back(linears_table(run));
  }
  return section;
}

Section importance_section(const ReportData& data) {
  Section section{.id = "importance", .title = "How concentrated the importance is"};
  Figure figure{.id = "fig_importance",
                .title = "Importance held by the most important ranks",
                .caption =
                    "Cumulative share of the importance against the share of ranks, most "
                    "important first. The further above the diagonal, the fewer ranks need "
                    "protection from noise.",
                .x_label = "share of ranks, most important first",
                .y_label = "share of importance",
                .x_is_percent = true,
                .y_is_percent = true};
  Table table{.id = "table_importance",
              .caption =
                  "Share of the importance that the top ranks hold, before and after "
                  "training the factors",
              .columns = {{"run", "run"},
                          {"model", "model"},
                          {"importance", "importance"},
                          {"top_05_share_before", "top 5 %, before", CellFormat::kPercent},
                          {"top_05_share_after", "after", CellFormat::kPercent},
                          {"top_10_share_before", "top 10 %, before", CellFormat::kPercent},
                          {"top_10_share_after", "after", CellFormat::kPercent},
                          {"top_20_share_before", "top 20 %, before", CellFormat::kPercent},
                          {"top_20_share_after", "after", CellFormat::kPercent}}};
  for (const TrainingRun& run : data.trainings) {
    const ImportanceMetrics& importance = run.importance;
    if (importance.measure.empty()) continue;
    const TopShares& before = importance.concentration.before;
    const TopShares& after = importance.concentration.after;
    table.add({run.info.name, model_label(data, run.info), importance_label(importance.measure),
               before.top_05_share, after.top_05_share, before.top_10_share, after.top_10_share,
               before.top_20_share, after.top_20_share},
              run.info.provenance);
    const std::vector<double>& rank_frac = importance.curve.rank_frac;
    if (rank_frac.empty()) continue;
    Panel panel{.title = run_title(data, run.info),
                .references = {{.name = "equal importance", .is_diagonal = true}},
                .provenance = run.info.provenance};
    for (const auto& [name, shares] : {std::pair{"before training", &importance.curve.before},
                                       {"after training", &importance.curve.after}}) {
      Series series{.name = name, .has_markers = false};
      for (std::size_t i = 0; i < rank_frac.size(); ++i) {
        series.points.push_back({.x = rank_frac[i], .y = (*shares)[i]});
      }
      panel.series.push_back(std::move(series));
    }
    figure.panels.push_back(std::move(panel));
  }
  if (!figure.panels.empty()) section.figures.push_back(std::move(figure));
  if (!table.rows.empty()) section.tables.push_back(std::move(table));
  return section;
}

Section runs_section(const ReportData& data) {
  Section section{.id = "runs", .title = "Runs behind this page"};
  Table table{.id = "table_runs",
              .caption = "Every run, with what it took",
              .columns = {{"run", "run"},
                          {"stage", "stage"},
                          {"folder", "folder"},
                          {"date", "date"},
                          {"seconds", "time", CellFormat::kSeconds}}};
  for (const RunInfo& run : data.runs) {
    table.add({run.name, run.stage, run.path, run.date, run.seconds}, run.provenance);
  }
  section.tables.push_back(std::move(table));
  return section;
}

}  // namespace lowbank::report
