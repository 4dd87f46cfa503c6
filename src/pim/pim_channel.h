#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace lowbank::pim {

/// What a memory controller tells the processing units next to the banks.
enum class PimCommand : std::uint8_t {
  kBarrier,        ///< asks whether a whole row fits before the next refresh
  kWriteRegister,  ///< operands to a unit; its own command only where nothing hides it
  kActivate,       ///< a row in every bank of a bank group
  kCompute,
  kReadResult,  ///< its own command only where nothing hides it
  kPrecharge,   ///< all banks of a pseudo-channel
  kRefresh      ///< all banks of a channel
};

/// Equal commands of a row that follow one another.
struct PimStep {
  PimCommand command = PimCommand::kBarrier;
  std::int64_t count = 1;         ///< >= 1
  std::int64_t stride = 1;        ///< cycles between them
  std::int64_t gap = 1;           ///< cycles after the command before the first of them
  std::int64_t activate_gap = 0;  ///< cycles after the row's last kActivate
  std::int64_t bank_group = -1;   ///< of kActivate and kWriteRegister
  std::int64_t num_hidden = 0;    ///< register writes behind kActivate, results behind kPrecharge
};

/// All commands of one row activation of a pseudo-channel; the first is kBarrier.
struct PimRow {
  std::vector<PimStep> steps;
  std::int64_t length = 0;    ///< cycles that the barrier asks for
  std::int64_t next_gap = 0;  ///< cycles from kPrecharge to the next row's barrier

  std::int64_t num_register_writes = 0;  ///< hidden ones included
  std::int64_t num_activates = 0;        ///< commands, one a bank group
};

/// `count` rows of kind `row` (an index into the rows of a schedule).
struct PimRun {
  std::int64_t row = 0;
  std::int64_t count = 0;
  bool operator==(const PimRun&) const = default;
  auto operator<=>(const PimRun&) const = default;
};

/// Runs that are done `repeats` times over.
struct PimSection {
  std::vector<PimRun> runs;
  std::int64_t repeats = 1;
};

/// When refreshes fall due, and what they cost.
struct PimRefresh {
  std::int64_t interval = 0;   ///< cycles; due at its multiples
  std::int64_t duration = 0;   ///< cycles of a refresh; 0 = it is never issued
  std::int64_t precharge = 0;  ///< cycles from a kPrecharge to a refresh
};

/// Hears every command: cycle, pseudo-channel (-1: all), step.
using PimListener =
    std::function<void(std::int64_t cycle, std::int64_t pseudo_channel, const PimStep& step)>;

/// Cycle of the last command of a channel whose pseudo-channels work through `plans`, the first
/// cycle being 1; 0 if there is no row.
///
/// Commands of a pseudo-channel issue in order, a channel issues one a cycle; if several
/// pseudo-channels could, the one that has issued fewer goes first, the lower number on a tie.
/// Whenever the whole state of the channel at a refresh boundary is one it has been in before, with
/// the same rows to come, all that happened in between is repeated by multiplication; the result is
/// that of issuing every command one by one, which is what happens with a listener.
///
/// Source:  Pimba simulator (MICRO 2025), the rules listed in docs/estimate.md.
/// Errors:  ConfigError if a row does not fit between two refreshes, or cycles leave 63 bits.
std::int64_t simulate_pim_channel(const std::vector<PimRow>& rows,
                                  const std::vector<std::vector<PimSection>>& plans,
                                  const PimRefresh& refresh, const PimListener& listener = {});

}  // namespace lowbank::pim
