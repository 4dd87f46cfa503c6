#pragma once

#include <cstdint>

#include "pim/cost.h"
#include "pim/preset.h"
#include "pim/workload.h"

namespace lowbank {

/// One attention product over a cache in HBM: `num_op` = sequences x heads x queries.
struct PimCall {
  OperatorKind kind = OperatorKind::kScore;  ///< kScore or kAttend
  std::int64_t num_op = 0;
  std::int64_t head_dim = 0;
  std::int64_t context = 0;
};

/// Clock cycles and commands of a call, summed over all channels (cycles: of the slowest).
struct PimCounts {
  std::int64_t cycles = 0;
  std::int64_t num_activations = 0;  ///< of banks
  std::int64_t num_computes = 0;     ///< COMP commands
  std::int64_t num_transfers = 0;    ///< register writes and result reads
};

/// Score and attend on processing units beside the banks of an HBM.
///
/// Source:  Pimba simulator (MICRO 2025), the constraints listed in docs/estimate.md.
/// Differs: a closed form: every row of a pseudo-channel takes the same period and the two
///          pseudo-channels of a channel never wait for each other's commands: 2 to 8 cycles below
///          the simulation on the 28 recorded calls, whatever their length. Physical mode: times
///          kept in ns at the actual clock, a refresh costs nRFC, an incomplete last round counts,
///          a result is one transfer.
class HbmPimModel {
 public:
  /// Errors: ConfigError for timings in which no row fits between two refreshes.
  HbmPimModel(const SystemPreset& preset, EstimateMode mode);

  /// Errors: ConfigError in reference mode for a call the reference has no value for (row and
  /// column blocks that do not fill the banks of a pseudo-channel), or counts beyond 2^63.
  PimCounts count(const PimCall& call) const;
  OperatorCost cost(const PimCall& call) const;

 private:
  std::int64_t whole(std::string_view key) const;
  std::int64_t cycles_of(std::string_view key) const;  ///< of a timing, at the actual clock

  SystemPreset preset_;
  EstimateMode mode_;
};

}  // namespace lowbank
