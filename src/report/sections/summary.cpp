#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/text.h"
#include "report/runs/claims.h"
#include "report/runs/costs.h"
#include "report/runs/noise_comparison.h"
#include "report/runs/slc_points.h"
#include "report/sections/labels.h"
#include "report/sections/sections.h"

namespace lowbank::report {
namespace {

constexpr double kHeadlineShare = 0.10;  // of ranks in SLC cells

// The share nearest to a tenth that lies strictly between none and all; -1 if there is none.
double headline_share(const NoisyRun& run) {
  double best = -1;
  for (const NoiseCurve& curve : run.curves) {
    for (const NoisePoint& point : curve.points) {
      if (point.slc_frac <= 0 || point.slc_frac >= 1) continue;
      if (best < 0 || std::abs(point.slc_frac - kHeadlineShare) < std::abs(best - kHeadlineShare)) {
        best = point.slc_frac;
      }
    }
  }
  return best;
}

const NoisePoint* headline_point(const NoisyRun& run) {
  const NoiseCurve* const curve = headline_curve(run);
  return curve == nullptr ? nullptr : find_point(*curve, headline_share(run));
}

// Noisy runs of one model under one protocol; they differ in encoding or noise.
std::vector<std::vector<const NoisyRun*>> runs_by_model(const ReportData& data) {
  std::vector<std::vector<const NoisyRun*>> groups;
  for (const NoisyRun& run : data.noisy) {
    if (headline_point(run) == nullptr) continue;
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
      return model_label(data, group.front()->info) == model_label(data, run.info) &&
             group.front()->protocol == run.protocol;
    });
    if (same == groups.end()) {
      groups.push_back({&run});
    } else {
      same->push_back(&run);
    }
  }
  for (auto& group : groups) {
    std::stable_sort(group.begin(), group.end(), [](const NoisyRun* a, const NoisyRun* b) {
      return headline_point(*a)->mean < headline_point(*b)->mean;
    });
  }
  return groups;
}

void add_model(const ReportData& data, std::vector<std::string>& lines) {
  for (const ConvertRun& run : data.converts) {
    if (!std::isfinite(run.num_params)) continue;
    std::string size;
    if (run.num_bytes > 0 && run.num_bytes < 1e18) {
      size = ", " + format_bytes(static_cast<std::uint64_t>(run.num_bytes));
    }
    lines.push_back(
        fmt::format("Model: {}, {} parameters{}.", run.model, format_count(run.num_params), size));
  }
}

void add_fine_tuning(const ReportData& data, std::vector<std::string>& lines) {
  for (const TrainingRun& run : data.trainings) {
    if (!run.importance.measure.empty() || !std::isfinite(run.start_valid_perplexity) ||
        !std::isfinite(run.valid_perplexity)) {
      continue;
    }
    lines.push_back(fmt::format(
        "Fine-tuning for {} steps: held-out perplexity {} from {} to {}.", format_count(run.steps),
        run.valid_perplexity <= run.start_valid_perplexity ? "fell" : "rose",
        format_number(run.start_valid_perplexity), format_number(run.valid_perplexity)));
  }
}

void add_factoring(const ReportData& data, std::vector<std::string>& lines) {
  for (const CompressRun& run : data.compressions) {
    std::string line = fmt::format("Factored at {}: {} of the parameters left (from {} to {})",
                                   model_label(data, run.info),
                                   format_percent(run.params_after / run.params_before),
                                   format_count(run.params_before), format_count(run.params_after));
    for (const TrainingRun& training : data.trainings) {
      const RunInfo* const from = data.find_checkpoint(training.info);
      if (from == nullptr || from->path != run.info.path ||
          !std::isfinite(training.start_valid_perplexity) ||
          !std::isfinite(training.valid_perplexity)) {
        continue;
      }
      line += fmt::format("; perplexity {}, and {} after training the factors",
                          format_number(training.start_valid_perplexity),
                          format_number(training.valid_perplexity));
      break;
    }
    lines.push_back(line + ".");
  }
}

void add_concentration(const ReportData& data, std::vector<std::string>& lines) {
  std::vector<std::string> parts;
  for (const TrainingRun& run : data.trainings) {
    const double before = run.importance.concentration.before.top_10_share;
    const double after = run.importance.concentration.after.top_10_share;
    if (!std::isfinite(before) || !std::isfinite(after)) continue;
    parts.push_back(fmt::format("{} to {} ({})", format_percent(before), format_percent(after),
                                model_label(data, run.info)));
  }
  if (parts.empty()) return;
  lines.push_back(
      fmt::format("Importance held by the top 10 % of ranks, from before to after training: {}.",
                  fmt::join(parts, "; ")));
}

void add_noise(const ReportData& data, std::vector<std::string>& lines) {
  for (const auto& group : runs_by_model(data)) {
    const NoisyRun& best = *group.front();
    const NoiseCurve& curve = *headline_curve(best);
    std::string line =
        fmt::format("Noise on {} ({}, sigma {}, {} cells, {} selection): perplexity",
                    model_label(data, best.info), best.noise.model, format_exact(best.noise.sigma),
                    encoding_label(best.noise.encoding), importance_label(curve.importance));
    std::vector<std::string> parts;
    for (const double share : {0.0, headline_share(best), 1.0}) {
      if (const NoisePoint* const point = find_point(curve, share)) {
        parts.push_back(
            fmt::format("{} at {} SLC", format_number(point->mean), format_share(share)));
      }
    }
    line += fmt::format(" {}", fmt::join(parts, ", "));
    if (std::isfinite(best.quantised_perplexity)) {
      line += fmt::format("; {} without noise", format_number(best.quantised_perplexity));
    }
    lines.push_back(line + ".");
  }
}

void add_encodings(const ReportData& data, std::vector<std::string>& lines) {
  for (const auto& group : runs_by_model(data)) {
    if (group.size() < 2) continue;
    const NoisePoint& best = *headline_point(*group[0]);
    const NoisePoint& next = *headline_point(*group[1]);
    if (group[0]->noise.encoding == group[1]->noise.encoding || best.slc_frac != next.slc_frac)
      continue;
    lines.push_back(fmt::format(
        "Encoding on {} at {} SLC: {} {} against {} {}: {}.", model_label(data, group[0]->info),
        format_share(best.slc_frac), encoding_label(group[0]->noise.encoding), interval_text(best),
        encoding_label(group[1]->noise.encoding), interval_text(next),
        compare_points(best, next) == Verdict::kBetter ? "the former is better"
                                                       : "no significant difference"));
  }
}

void add_selection(const ReportData& data, std::vector<std::string>& lines) {
  for (const char* other_name : {"rank_order", "random"}) {
    CurveComparison sum;
    std::string learned_name;
    for (const NoisyRun& run : data.noisy) {
      const NoiseCurve* const learned = learned_curve(run);
      const NoiseCurve* const other = find_curve(run, other_name);
      if (learned == nullptr || other == nullptr) continue;
      if (!learned_name.empty() && learned->importance != learned_name) continue;
      learned_name = learned->importance;
      const CurveComparison result = compare_curves(*learned, *other);
      sum.num_better += result.num_better;
      sum.num_equal += result.num_equal;
      sum.num_worse += result.num_worse;
    }
    if (sum.num_points() == 0) continue;
    lines.push_back(fmt::format(
        "Selecting ranks by {} against {}: {} (model, encoding and SLC share; 95 % intervals).",
        importance_label(learned_name), importance_label(other_name), sum.text()));
  }
}

void add_costs(const ReportData& data, std::vector<std::string>& lines) {
  for (const EstimateRun& run : data.estimates) {
    if (is_slc_point(data, run)) continue;
    for (std::string& sentence : cost_sentences(data, run)) lines.push_back(std::move(sentence));
  }
}

std::string file_name(const std::string& id) {
  std::string out;
  for (const char c : id) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    out += is_plain ? c : '_';
  }
  return out.substr(0, 100);
}

// Ids become file names. Ids that were made from names in the input may contain a slash or occur
// twice.
void make_ids_safe(std::vector<Section>& sections) {
  std::vector<std::string> used;
  const auto make_safe = [&](std::string& id) {
    const std::string base = file_name(id);
    id = base;
    for (int i = 2; std::find(used.begin(), used.end(), id) != used.end(); ++i) {
      id = fmt::format("{}_{}", base, i);
    }
    used.push_back(id);
  };
  for (Section& section : sections) {
    for (Figure& figure : section.figures) make_safe(figure.id);
    for (Table& table : section.tables) make_safe(table.id);
  }
}

}  // namespace

std::vector<std::string> report_summary(const ReportData& data, const std::string& page) {
  std::vector<std::string> lines;
  add_model(data, lines);
  add_fine_tuning(data, lines);
  add_factoring(data, lines);
  add_concentration(data, lines);
  add_noise(data, lines);
  add_encodings(data, lines);
  add_selection(data, lines);
  add_costs(data, lines);
  for (std::string& line : slc_sentences(data)) lines.push_back(std::move(line));
  for (std::string& line : claim_sentences(data)) lines.push_back(std::move(line));
  lines.push_back(fmt::format("Tables and figures: {}", page));
  return lines;
}

std::vector<Headline> report_headlines(const ReportData& data) {
  std::vector<Headline> out;
  const auto add = [&](const std::string& name, double value, const Provenance& provenance,
                       const std::string& unit = "") {
    if (std::isfinite(value)) out.push_back({name, value, unit, provenance});
  };
  for (const EvaluateRun& run : data.evaluations) {
    add(run.info.name + ".perplexity", run.perplexity, run.info.provenance);
  }
  for (const TrainingRun& run : data.trainings) {
    add(run.info.name + ".start_valid_perplexity", run.start_valid_perplexity, run.info.provenance);
    add(run.info.name + ".valid_perplexity", run.valid_perplexity, run.info.provenance);
  }
  for (const NoisyRun& run : data.noisy) {
    add(run.info.name + ".quantised_perplexity", run.quantised_perplexity, run.info.provenance);
    for (const NoiseCurve& curve : run.curves) {
      for (const double share : {0.0, headline_share(run), 1.0}) {
        if (const NoisePoint* const point = find_point(curve, share)) {
          add(fmt::format("{}.{}.perplexity_slc_{}", run.info.name, curve.importance, share),
              point->mean, run.info.provenance);
        }
      }
    }
  }
  for (const EstimateRun& run : data.estimates) {
    if (is_slc_point(data, run)) continue;
    for (const CostRow& row : run.rows) {
      const std::string name = fmt::format("{}.{}.{}.", row.system, row.phase, row.workload);
      add(name + "latency_per_token", row.latency_per_token_ns(), row.provenance, "ns");
      add(name + "energy_per_token", row.energy_per_token_pj, row.provenance, "pJ");
    }
  }
  for (const ClaimResult& result : check_claims(data)) {
    add(result.run->info.name + "." + result.claim->key, result.value, result.run->provenance);
  }
  return out;
}

std::vector<Section> report_sections(const ReportData& data) {
  std::vector<Section> sections;
  for (Section section : {perplexity_section(data), training_section(data),
                          compression_section(data), importance_section(data), noise_section(data),
                          cost_section(data), sweep_section(data), sensitivity_section(data),
                          slc_section(data), experiments_section(data), runs_section(data)}) {
    if (!section.is_empty()) sections.push_back(std::move(section));
  }
  make_ids_safe(sections);
  return sections;
}

}  // namespace lowbank::report
