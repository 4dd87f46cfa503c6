#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pim/estimator.h"

namespace lowbank::pim {

/// A figure of a machine made smaller or larger, and what that does to a cost.
struct ConstantEffect {
  std::string preset;  ///< whose constant it is
  Constant constant;
  double low_value = 0;
  double high_value = 0;
  double low_time = 1;  ///< time with the low value / time with the value itself
  double high_time = 1;
  std::optional<double> low_energy;  ///< likewise; none where the energy is not known
  std::optional<double> high_energy;

  double time_swing() const;    ///< |ln| of the larger of the two ratios of time
  double energy_swing() const;  ///< 0 where the energy is not known
};

struct Sensitivity {
  std::vector<ConstantEffect> effects;  ///< of those that change anything; most of time first
  std::vector<std::string> refused;     ///< constants whose other value no machine can have
};

/// Every constant of a system (of all its presets) times 1 - part and 1 + part, one at a time;
/// whole numbers rounded, fractions kept at most 1, switches left as they are. What the reference
/// has in a constant's place changes with it. `output_tokens`: 0 prices one run of the phase, else
/// a prompt with that many generated tokens.
/// Errors: ConfigError unless part is in (0, 1); those of System::price at the constants' own
/// values.
Sensitivity constant_sensitivity(const System& system, const SystemOptions& options,
                                 const Workload& workload, Phase phase, std::int64_t output_tokens,
                                 double part);

}  // namespace lowbank::pim
