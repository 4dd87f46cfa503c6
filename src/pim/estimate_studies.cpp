#include "pim/estimate_studies.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/log.h"
#include "pim/break_even.h"
#include "pim/print_table.h"
#include "pim/sensitivity.h"

namespace lowbank::pim {
namespace {

using Json = nlohmann::ordered_json;

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

// Two entries, of time and of energy, with `subject` first; none where nothing differs.
void add_break_even(Json& entries, const Json& subject, const BreakEven& comparison) {
  if (!comparison.differs) return;
  const auto add = [&](const char* metric, const SignCourse* course) {
    Json entry = subject;
    entry["axis"] = axis_name(comparison.axis);
    entry["from"] = comparison.low;
    entry["to"] = comparison.high;
    entry["metric"] = metric;
    entry["better_at_start"] = course != nullptr ? Json(course->starts_positive) : Json(nullptr);
    entry["changes"] = Json::array();
    if (course != nullptr) {
      for (const Crossing& crossing : course->crossings) {
        entry["changes"].push_back({{"at", crossing.at}, {"better", crossing.is_positive}});
      }
    }
    entry["better"] = course != nullptr ? course_text(*course, comparison.low) : "not known";
    entries.push_back(std::move(entry));
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

Json subject_of(const NamedWorkload& workload, Phase phase) {
  return {{"workload", workload.name},
          {"phase", phase_name(phase)},
          {"batch", workload.workload.batch},
          {"context", workload.workload.context},
          {"provenance", "modelled"}};
}

std::string text_at(const Json& entry, const char* key) { return entry.at(key).get<std::string>(); }

// Entries of time and energy stand in pairs; a line for each pair.
void print_courses(const Json& entries, const std::vector<const char*>& keys) {
  std::vector<std::vector<std::string>> table(1);
  for (const char* const key : keys) table.front().emplace_back(key);
  table.front().insert(table.front().end(), {"of", "less time", "less energy"});
  for (std::size_t i = 0; i + 1 < entries.size(); i += 2) {
    std::vector<std::string>& line = table.emplace_back();
    for (const char* const key : keys) line.push_back(text_at(entries[i], key));
    line.push_back(fmt::format("{} to {}", entries[i].at("from").get<std::int64_t>(),
                               entries[i].at("to").get<std::int64_t>()));
    line.push_back(text_at(entries[i], "better"));
    line.push_back(text_at(entries[i + 1], "better"));
  }
  print_table(table, table.front().size());
}

double largest_swing(const Json& constant) {
  double largest = 0;
  for (const char* const key : {"time_at_low", "time_at_high", "energy_at_low", "energy_at_high"}) {
    const Json& ratio = constant.at(key);
    if (!ratio.is_null()) largest = std::max(largest, std::abs(std::log(ratio.get<double>())));
  }
  return largest;
}

}  // namespace

Json crossovers_json(const std::vector<NamedWorkload>& workloads,
                     const std::vector<NamedSystem>& systems) {
  Json entries = Json::array();
  for (const auto& workload : workloads) {
    for (const Phase phase : phases_of(workload.workload)) {
      for (std::size_t base = 0; base < systems.size(); ++base) {
        for (std::size_t other = base + 1; other < systems.size(); ++other) {
          Json subject = subject_of(workload, phase);
          subject["system"] = systems[other].name;
          subject["versus"] = systems[base].name;
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

Json break_even_json(const std::vector<NamedWorkload>& workloads,
                     const std::vector<NamedSystem>& systems) {
  Json entries = Json::array();
  for (const auto& workload : workloads) {
    for (const Phase phase : phases_of(workload.workload)) {
      for (const DistinctOperator& op : distinct_operators(workload.workload.operators(phase))) {
        const Operator& first = op.products.front();
        Json subject = subject_of(workload, phase);
        subject["operator"] = op.name;
        subject["num_equal"] = op.num_equal;
        if (first.kind == OperatorKind::kLinear) {
          subject["in"] = first.in_features();
          subject["out"] = op.products.back().out_features();
          for (const auto& system : systems) {
            Json mine = subject;
            mine["system"] = system.name;
            mine["versus"] = "dense";
            add_break_even(entries, mine,
                           rank_break_even(*system.system, workload.workload, phase, op));
          }
        }
        for (std::size_t other = 1; other < systems.size(); ++other) {
          Json mine = subject;
          mine["system"] = systems[other].name;
          mine["versus"] = systems.front().name;
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

Json sensitivity_json(const std::vector<NamedWorkload>& workloads,
                      const std::vector<NamedSystem>& systems, const SystemOptions& options,
                      std::int64_t output_tokens, double part) {
  Json entries = Json::array();
  const auto add = [&](const NamedWorkload& workload, const NamedSystem& system, Phase phase,
                       std::int64_t tokens) {
    const Sensitivity result =
        constant_sensitivity(*system.system, options, workload.workload, phase, tokens, part);
    Json constants = Json::array();
    for (const ConstantEffect& effect : result.effects) {
      constants.push_back({{"constant", effect.constant.key},
                           {"preset", effect.preset},
                           {"unit", effect.constant.unit},
                           {"value", effect.constant.value},
                           {"low_value", effect.low_value},
                           {"high_value", effect.high_value},
                           {"time_at_low", effect.low_time},
                           {"time_at_high", effect.high_time},
                           {"energy_at_low", or_null(effect.low_energy)},
                           {"energy_at_high", or_null(effect.high_energy)}});
    }
    Json entry = subject_of(workload, phase);
    if (tokens > 0) entry["phase"] = "generate";
    entry["system"] = system.name;
    entry["part"] = part;
    entry["constants"] = std::move(constants);
    entry["refused"] = result.refused;
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

void print_crossovers(const Json& entries) {
  print_line("Batches and contexts at which one system takes less than another:");
  print_courses(entries, {"workload", "phase", "system", "versus", "axis"});
}

void print_break_even(const Json& entries) {
  print_line(
      "Where an operator takes less: over its rank than the dense layer, over batch and context "
      "than on the other system:");
  print_courses(entries, {"workload", "phase", "operator", "system", "versus", "axis"});
}

void print_sensitivity(const Json& entries, double part) {
  const auto change = [](const Json& ratio) {
    return ratio.is_null() ? std::string("-")
                           : fmt::format("{:+.1f} %", 100 * (ratio.get<double>() - 1));
  };
  for (const Json& entry : entries) {
    print_line(fmt::format("{}, {} on {}: constants that matter most, -{:.0f} % and +{:.0f} %",
                           text_at(entry, "workload"), text_at(entry, "phase"),
                           text_at(entry, "system"), 100 * part, 100 * part));
    std::vector<Json> constants(entry.at("constants").begin(), entry.at("constants").end());
    std::stable_sort(constants.begin(), constants.end(), [](const Json& a, const Json& b) {
      return largest_swing(a) > largest_swing(b);
    });
    constants.resize(std::min(constants.size(), kMostPrintedConstants));
    std::vector<std::vector<std::string>> table = {
        {"constant", "unit", "value", "low", "high", "time: low", "high", "energy: low", "high"}};
    for (const Json& constant : constants) {
      const auto number = [&](const char* key) {
        return fmt::format("{:.4g}", constant.at(key).get<double>());
      };
      table.push_back({text_at(constant, "constant"), text_at(constant, "unit"), number("value"),
                       number("low_value"), number("high_value"),
                       change(constant.at("time_at_low")), change(constant.at("time_at_high")),
                       change(constant.at("energy_at_low")),
                       change(constant.at("energy_at_high"))});
    }
    print_table(table, 2);
  }
}

}  // namespace lowbank::pim
