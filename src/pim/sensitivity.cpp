#include "pim/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank::pim {
namespace {

struct TimeAndEnergy {
  double time = 0;
  double energy = 0;
};

double swing(double low, double high) {
  return std::max(std::abs(std::log(low)), std::abs(std::log(high)));
}

constexpr double kNoEffect = 1e-9;

}  // namespace

double ConstantEffect::time_swing() const { return swing(low_time, high_time); }
double ConstantEffect::energy_swing() const {
  return low_energy && high_energy ? swing(*low_energy, *high_energy) : 0;
}

Sensitivity constant_sensitivity(const System& system, const SystemOptions& options,
                                 const Workload& workload, Phase phase, std::int64_t output_tokens,
                                 double part) {
  if (!(part > 0 && part < 1)) {
    throw ConfigError(fmt::format("sensitivity: must be in (0, 1); got {}", part));
  }
  const auto price = [&](const System& machine) -> TimeAndEnergy {
    const PhaseCost cost = output_tokens > 0
                               ? price_generation(machine, workload, output_tokens).total
                               : machine.price(workload, phase);
    return {cost.latency_ns, cost.energy_pj.total()};
  };
  const TimeAndEnergy own = price(system);
  const std::vector<SystemPreset> presets = system.presets();
  Sensitivity result;
  for (std::size_t p = 0; p < presets.size(); ++p) {
    for (std::size_t c = 0; c < presets[p].constants.size(); ++c) {
      const Constant& constant = presets[p].constants[c];
      ConstantEffect effect;
      effect.preset = presets[p].name;
      effect.constant = constant;
      // Nothing if no machine can be made with the changed constant.
      const auto priced_at = [&](double factor, double& value) -> std::optional<TimeAndEnergy> {
        std::vector<SystemPreset> changed = presets;
        Constant& mine = changed[p].constants[c];
        mine.value = nearest_allowed(mine.key, constant.value * factor);
        if (mine.reference) {
          mine.reference = nearest_allowed(mine.key, *constant.reference * factor);
        }
        value = mine.value;
        if (value == constant.value && mine.reference == constant.reference) return own;
        try {
          return price(*make_system(changed, options));
        } catch (const ConfigError&) {
          return std::nullopt;
        }
      };
      const auto low = priced_at(1 - part, effect.low_value);
      const auto high = priced_at(1 + part, effect.high_value);
      if (!low || !high) {
        result.refused.push_back(constant.key);
        continue;
      }
      effect.low_time = low->time / own.time;
      effect.high_time = high->time / own.time;
      if (own.energy > 0) {  // else not known
        effect.low_energy = low->energy / own.energy;
        effect.high_energy = high->energy / own.energy;
      }
      if (effect.time_swing() > kNoEffect || effect.energy_swing() > kNoEffect) {
        result.effects.push_back(std::move(effect));
      }
    }
  }
  std::stable_sort(result.effects.begin(), result.effects.end(),
                   [](const ConstantEffect& a, const ConstantEffect& b) {
                     return a.time_swing() > b.time_swing();
                   });
  return result;
}

}  // namespace lowbank::pim
