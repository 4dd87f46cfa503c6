#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "pim/cost.h"
#include "pim/pim_channel.h"
#include "pim/pim_schedule.h"
#include "pim/preset.h"

namespace lowbank::pim {

enum class PimKind { kStateUpdate, kScore, kAttend };

/// Equal operators in memory: state updates of [head_dim, state_dim], or attention products of
/// head_dim against state_dim cached tokens; `num_op` = sequences x heads (x queries).
struct PimCall {
  PimKind kind = PimKind::kScore;
  std::int64_t num_op = 0;
  std::int64_t head_dim = 0;
  std::int64_t state_dim = 0;
  std::optional<std::int64_t> element_bytes = {};  ///< instead of the preset's own format
};

/// Clock cycles and commands of a call, summed over all channels (cycles: of the slowest).
struct PimCounts {
  std::int64_t cycles = 0;
  std::int64_t num_activations = 0;  ///< of banks
  std::int64_t num_computes = 0;     ///< COMP commands
  std::int64_t num_transfers = 0;    ///< register writes and result reads
  bool operator==(const PimCounts&) const = default;
};

/// A call as rows of commands, before they are put in time.
struct PimProgram {
  PimSchedule schedule;
  std::vector<PimRow> rows;  ///< one for each of the schedule's shapes
  PimRefresh refresh;
  std::int64_t computes_per_row = 0;
  std::int64_t transfers_per_row = 0;  ///< result reads; register writes stand in the rows

  std::vector<PimSection> plan(std::size_t pseudo_channel) const;
};

/// Hears every command of a call: channel, cycle, pseudo-channel (-1: all of the channel), step.
using PimCallListener = std::function<void(std::int64_t channel, std::int64_t cycle,
                                           std::int64_t pseudo_channel, const PimStep& step)>;

/// State updates, score and attend on processing units next to the banks of an HBM.
///
/// Source:  Pimba simulator (MICRO 2025), the rules listed in docs/estimate.md.
/// Differs: none in reference mode (all recorded calls are equal in cycles and counts). Each
///          correction of docs/corrections.md can be chosen on its own.
class HbmPimModel {
 public:
  /// `preset` of kind hbm-pim. Errors: ConfigError for timings in which no row fits between two
  /// refreshes.
  HbmPimModel(const SystemPreset& preset, const Corrections& corrections);

  /// Errors: ConfigError for sizes below 1 or beyond 2^40, an element that does not divide an
  /// atom, counts beyond 63 bits; in reference mode for a call the reference has no value for (row
  /// and column blocks that do not fill the banks of a pseudo-channel).
  PimCounts count(const PimCall& call) const;
  OperatorCost cost(const PimCall& call) const;

  PimProgram program(const PimCall& call) const;
  /// Issues every command one by one. Errors: as count; and for more than 5000 rows.
  void trace(const PimCall& call, const PimCallListener& listener) const;

  const PimGeometry& geometry() const { return geometry_; }
  std::int64_t chunk_columns() const { return chunk_columns_; }

 private:
  std::int64_t cycles_of(const SystemPreset& preset, std::string_view key) const;
  PimRow make_row(const PimRowShape& shape, std::int64_t start_writes, std::int64_t go_on_writes,
                  std::int64_t num_computes, std::int64_t num_results,
                  std::int64_t state_results) const;
  void check(const PimCall& call, std::int64_t element_bytes) const;

  Corrections corrections_;
  PimGeometry geometry_;
  std::int64_t atom_bytes_, chunk_columns_, element_bytes_;
  std::int64_t update_computes_, attention_computes_;
  std::int64_t start_writes_, attention_writes_;
  std::int64_t attend_results_, results_per_byte_;
  bool hides_transfers_;
  double clock_mhz_;
  std::int64_t burst_, column_;  // cycles of the interface
  std::int64_t row_to_column_, recovery_, precharge_, row_active_, activate_gap_;
  PimRefresh refresh_;
  double activate_pj_, compute_pj_, transfer_pj_;
  std::string file_;
};

}  // namespace lowbank::pim
