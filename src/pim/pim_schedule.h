#pragma once

#include <cstdint>
#include <vector>

#include "pim/pim_channel.h"

namespace lowbank::pim {

/// Banks of a memory with processing units.
struct PimGeometry {
  std::int64_t num_channels = 0;
  std::int64_t pseudo_channels = 0;  ///< of a channel
  std::int64_t bank_groups = 0;      ///< of a pseudo-channel
  std::int64_t banks_per_group = 0;

  std::int64_t banks_per_pseudo_channel() const { return bank_groups * banks_per_group; }
  std::int64_t num_pseudo_channels() const { return num_channels * pseudo_channels; }
  std::int64_t num_banks() const { return num_pseudo_channels() * banks_per_pseudo_channel(); }
};

/// Row blocks of column chunks to be spread over the banks: one row activation of a bank each.
struct PimWork {
  std::int64_t num_blocks = 0;
  std::int64_t chunks_per_block = 0;
  bool tells_starts = false;  ///< a bank that starts a block does more than one that goes on
  bool keeps_incomplete_round = true;  ///< false: a last round that leaves banks idle is dropped,
                                       ///< unless it is the only one
};

/// What the banks of a pseudo-channel do in one row activation, by bank group: how many start a
/// block and how many work at all.
struct PimRowShape {
  std::vector<std::int64_t> starting;
  std::vector<std::int64_t> working;
  bool operator==(const PimRowShape&) const = default;
  auto operator<=>(const PimRowShape&) const = default;
};

/// Who does what: turns that are the same on every pseudo-channel, then what is left.
struct PimSchedule {
  std::vector<PimRowShape> shapes;        ///< that PimRun::row refers to
  PimSection turns;                       ///< on every pseudo-channel
  std::vector<std::vector<PimRun>> ends;  ///< by pseudo-channel, after the turns
};

/// Spreads the work as the reference does: banks are visited in the order channel, pseudo-channel,
/// bank group, bank, one row activation each; a bank whose block is finished takes the one with the
/// fewest chunks done, the lowest number on ties. Run time grows with the number of blocks that
/// finish in different rounds, not with the number of chunks.
///
/// Source:  Pimba simulator (MICRO 2025), the rules listed in docs/estimate.md. Differs: none.
PimSchedule spread_pim_work(const PimGeometry& geometry, const PimWork& work);

}  // namespace lowbank::pim
