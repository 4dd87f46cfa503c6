#include "pim/estimate_studies.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/log.h"
#include "pim/break_even.h"
#include "pim/print_table.h"
#include "pim/sensitivity.h"

namespace lowbank::pim {
namespace {

constexpr std::size_t kMostPrintedConstants = 10;

// "from 3 on", "up to 95", "1 to 5 and from 300 on", "always", "never".
std::string course_text(const SignCourse& course, std::int64_t low) {
  if (course.never()) return "never";
  if (course.always()) return "always";
  std::vector<std::string> parts;
  bool is_positive = course.starts_positive;
  std::int64_t since = low;
  for (const Crossing& crossing : course.crossings) {
    if (is_positive) {
      parts.push_back(parts.empty() && since == low
                          ? fmt::format("up to {}", crossing.at - 1)
                          : fmt::format("{} to {}", since, crossing.at - 1));
    }
    is_positive = crossing.is_positive;
    since = crossing.at;
  }
  if (is_positive) parts.push_back(fmt::format("from {} on", since));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Two entries, of time and of energy, about `subject`; none where nothing differs.
void add_break_even(Crossovers& entries, const EstimateResult::Crossover& subject,
                    const BreakEven& comparison) {
  if (!comparison.differs) return;
  const auto add = [&](const char* metric, const SignCourse* course) {
    EstimateResult::Crossover& entry = entries.emplace_back(subject);
    entry.axis = axis_name(comparison.axis);
    entry.from = comparison.low;
    entry.to = comparison.high;
    entry.metric = metric;
    entry.better = "not known";
    if (course == nullptr) return;
    entry.better_at_start = course->starts_positive;
    for (const Crossing& crossing : course->crossings) {
      entry.changes.push_back({.at = crossing.at, .better = crossing.is_positive});
    }
    entry.better = course_text(*course, comparison.low);
  };
  add("time", &comparison.time);
  add("energy", comparison.energy ? &*comparison.energy : nullptr);
}

std::vector<Phase> phases_of(const Workload& workload) {
  std::vector<Phase> phases;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!workload.operators(phase).empty()) phases.push_back(phase);
  }
  return phases;
}

// An entry about a workload in one phase.
template <class Entry>
Entry entry_about(const NamedWorkload& workload, Phase phase) {
  Entry entry;
  entry.workload = workload.name;
  entry.phase = phase_name(phase);
  entry.batch = workload.workload.batch;
  entry.context = workload.workload.context;
  return entry;
}

struct CrossoverColumn {
  const char* heading;
  std::string EstimateResult::Crossover::*text;
};

// Entries of time and energy stand in pairs; a line for each pair.
void print_courses(const Crossovers& entries, const std::vector<CrossoverColumn>& columns) {
  std::vector<std::vector<std::string>> table(1);
  for (const CrossoverColumn& column : columns) table.front().emplace_back(column.heading);
  table.front().insert(table.front().end(), {"of", "less time", "less energy"});
  for (std::size_t i = 0; i + 1 < entries.size(); i += 2) {
    const EstimateResult::Crossover& entry = entries[i];
    std::vector<std::string>& line = table.emplace_back();
    for (const CrossoverColumn& column : columns) line.push_back(entry.*column.text);
    line.push_back(fmt::format("{:.0f} to {:.0f}", double{entry.from}, double{entry.to}));
    line.push_back(entry.better);
    line.push_back(entries[i + 1].better);
  }
  print_table(table, table.front().size());
}

double largest_swing(const EstimateResult::Sensitivity::Effect& effect) {
  double largest = 0;
  for (const double ratio :
       {effect.time_at_low, effect.time_at_high, effect.energy_at_low, effect.energy_at_high}) {
    if (!std::isnan(ratio)) largest = std::max(largest, std::abs(std::log(ratio)));
  }
  return largest;
}

}  // namespace

Crossovers find_crossovers(const std::vector<NamedWorkload>& workloads,
                           const std::vector<NamedSystem>& systems) {
  Crossovers entries;
  for (const auto& workload : workloads) {
    for (const Phase phase : phases_of(workload.workload)) {
      for (std::size_t base = 0; base < systems.size(); ++base) {
        for (std::size_t other = base + 1; other < systems.size(); ++other) {
          auto subject = entry_about<EstimateResult::Crossover>(workload, phase);
          subject.system = systems[other].name;
          subject.versus = systems[base].name;
          for (const BreakEven& comparison : system_break_even(
                   *systems[base].system, *systems[other].system, workload.workload, phase)) {
            add_break_even(entries, subject, comparison);
          }
        }
      }
    }
  }
  return entries;
}

Crossovers find_break_even(const std::vector<NamedWorkload>& workloads,
                           const std::vector<NamedSystem>& systems) {
  Crossovers entries;
  for (const auto& workload : workloads) {
    for (const Phase phase : phases_of(workload.workload)) {
      for (const DistinctOperator& op : distinct_operators(workload.workload.operators(phase))) {
        const Operator& first = op.products.front();
        auto subject = entry_about<EstimateResult::Crossover>(workload, phase);
        subject.op = op.name;
        subject.num_equal = op.num_equal;
        if (first.kind == OperatorKind::kLinear) {
          subject.in_features = first.in_features();
          subject.out_features = op.products.back().out_features();
          for (const auto& system : systems) {
            auto mine = subject;
            mine.system = system.name;
            mine.versus = "dense";
            add_break_even(entries, mine,
                           rank_break_even(*system.system, workload.workload, phase, op));
          }
        }
        for (std::size_t other = 1; other < systems.size(); ++other) {
          auto mine = subject;
          mine.system = systems[other].name;
          mine.versus = systems.front().name;
          for (const BreakEven& comparison : system_break_even(
                   *systems.front().system, *systems[other].system, workload.workload, phase, op)) {
            const bool reads_cache =
                first.kind == OperatorKind::kScore || first.kind == OperatorKind::kAttend;
            // In decode only attention sees the context.
            if (comparison.axis == SweepAxis::kContext && phase == Phase::kDecode && !reads_cache) {
              continue;
            }
            add_break_even(entries, mine, comparison);
          }
        }
      }
    }
  }
  return entries;
}

Sensitivities find_sensitivity(const std::vector<NamedWorkload>& workloads,
                               const std::vector<NamedSystem>& systems,
                               const SystemOptions& options, std::int64_t output_tokens,
                               double part) {
  Sensitivities entries;
  const auto add = [&](const NamedWorkload& workload, const NamedSystem& system, Phase phase,
                       std::int64_t tokens) {
    const Sensitivity result =
        constant_sensitivity(*system.system, options, workload.workload, phase, tokens, part);
    auto entry = entry_about<EstimateResult::Sensitivity>(workload, phase);
    if (tokens > 0) entry.phase = "generate";
    entry.system = system.name;
    entry.part = part;
    for (const ConstantEffect& effect : result.effects) {
      entry.effects.push_back({.key = effect.constant.key,
                               .preset = effect.preset,
                               .unit = effect.constant.unit,
                               .value = effect.constant.value,
                               .low_value = effect.low_value,
                               .high_value = effect.high_value,
                               .time_at_low = effect.low_time,
                               .time_at_high = effect.high_time,
                               .energy_at_low = effect.low_energy.value_or(kNotReported),
                               .energy_at_high = effect.high_energy.value_or(kNotReported)});
    }
    entry.refused = result.refused;
    entries.push_back(std::move(entry));
  };
  for (const auto& workload : workloads) {
    for (const auto& system : systems) {
      for (const Phase phase : phases_of(workload.workload)) add(workload, system, phase, 0);
      if (output_tokens > 0) add(workload, system, Phase::kDecode, output_tokens);
    }
  }
  return entries;
}

void print_crossovers(const Crossovers& entries) {
  using Entry = EstimateResult::Crossover;
  print_line("Batches and contexts at which one system takes less than another:");
  print_courses(entries, {{"workload", &Entry::workload},
                          {"phase", &Entry::phase},
                          {"system", &Entry::system},
                          {"versus", &Entry::versus},
                          {"axis", &Entry::axis}});
}

void print_break_even(const Crossovers& entries) {
  using Entry = EstimateResult::Crossover;
  print_line(
      "Where an operator takes less: over its rank than the dense layer, over batch and context "
      "than on the other system:");
  print_courses(entries, {{"workload", &Entry::workload},
                          {"phase", &Entry::phase},
                          {"operator", &Entry::op},
                          {"system", &Entry::system},
                          {"versus", &Entry::versus},
                          {"axis", &Entry::axis}});
}

void print_sensitivity(const Sensitivities& entries, double part) {
  const auto change = [](double ratio) {
    return std::isnan(ratio) ? std::string("-") : fmt::format("{:+.1f} %", 100 * (ratio - 1));
  };
  const auto number = [](double value) { return fmt::format("{:.4g}", value); };
  for (const EstimateResult::Sensitivity& entry : entries) {
    print_line(fmt::format("{}, {} on {}: constants that matter most, -{:.0f} % and +{:.0f} %",
                           entry.workload, entry.phase, entry.system, 100 * part, 100 * part));
    auto effects = entry.effects;
    std::stable_sort(effects.begin(), effects.end(), [](const auto& a, const auto& b) {
      return largest_swing(a) > largest_swing(b);
    });
    effects.resize(std::min(effects.size(), kMostPrintedConstants));
    std::vector<std::vector<std::string>> table = {
        {"constant", "unit", "value", "low", "high", "time: low", "high", "energy: low", "high"}};
    for (const auto& effect : effects) {
      table.push_back({effect.key, effect.unit, number(effect.value), number(effect.low_value),
                       number(effect.high_value), change(effect.time_at_low),
                       change(effect.time_at_high), change(effect.energy_at_low),
                       change(effect.energy_at_high)});
    }
    print_table(table, 2);
  }
}

}  // namespace lowbank::pim
