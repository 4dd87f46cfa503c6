#pragma once

// A second implementation of the rules of src/pim/pim_channel.h and pim_schedule.h, cycle by cycle
// and bank by bank, with nothing skipped. The estimator's engine must give the same results.

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "pim/pim_channel.h"
#include "pim/pim_schedule.h"

namespace lowbank::pim::testing {

inline std::vector<std::int64_t> flatten(const std::vector<PimSection>& plan) {
  std::vector<std::int64_t> rows;
  for (const PimSection& section : plan) {
    for (std::int64_t i = 0; i < section.repeats; ++i) {
      for (const PimRun& run : section.runs) {
        rows.insert(rows.end(), static_cast<std::size_t>(run.count), run.row);
      }
    }
  }
  return rows;
}

/// As simulate_pim_channel, one clock cycle after the other.
inline std::int64_t plain_pim_channel(const std::vector<PimRow>& rows,
                                      const std::vector<std::vector<PimSection>>& plans,
                                      const PimRefresh& refresh) {
  struct Command {
    PimStep step;
    std::int64_t gap, activate_gap, length;
    bool starts_row;
  };
  struct Stream {
    std::vector<Command> commands;
    std::size_t next = 0;
    std::int64_t last = 0, last_activate = 0;
    bool ends() const { return next == commands.size(); }
    bool is_between_rows() const { return ends() || commands[next].starts_row; }
  };
  std::vector<Stream> streams;
  for (const auto& plan : plans) {
    Stream stream;
    std::int64_t gap = 1;
    for (const std::int64_t index : flatten(plan)) {
      const PimRow& row = rows[static_cast<std::size_t>(index)];
      for (std::size_t s = 0; s < row.steps.size(); ++s) {
        const PimStep& step = row.steps[s];
        for (std::int64_t i = 0; i < step.count; ++i) {
          const std::int64_t before = i > 0 ? step.stride : s > 0 ? step.gap : gap;
          stream.commands.push_back(
              {step, before, i > 0 ? 0 : step.activate_gap, row.length, s == 0});
        }
      }
      gap = row.next_gap;
    }
    streams.push_back(std::move(stream));
  }

  std::int64_t last_cycle = 0;
  std::int64_t due = refresh.interval;
  std::int64_t refreshed = 0;
  for (std::int64_t cycle = 1;; ++cycle) {
    const auto all = [&](auto&& holds) {
      return std::all_of(streams.begin(), streams.end(), holds);
    };
    if (all([](const Stream& s) { return s.ends(); })) return last_cycle;
    const bool is_due = refresh.duration > 0 && cycle >= due;
    if (is_due && all([&](const Stream& s) {
          return s.is_between_rows() && cycle >= s.last + refresh.precharge;
        })) {
      last_cycle = cycle;
      refreshed = cycle + refresh.duration;
      due += refresh.interval;
      continue;
    }
    Stream* chosen = nullptr;
    for (Stream& s : streams) {
      if (s.ends()) continue;
      const Command& c = s.commands[s.next];
      if (cycle < s.last + c.gap || cycle < s.last_activate + c.activate_gap) continue;
      if (c.starts_row && (is_due || cycle < refreshed ||
                           cycle % refresh.interval + c.length >= refresh.interval)) {
        continue;
      }
      if (chosen == nullptr || s.next < chosen->next) chosen = &s;
    }
    if (chosen == nullptr) continue;
    const Command& c = chosen->commands[chosen->next++];
    chosen->last = last_cycle = cycle;
    if (c.step.command == PimCommand::kActivate) chosen->last_activate = cycle;
  }
}

/// Rows of each pseudo-channel, one after the other: as spread_pim_work, bank by bank.
inline std::vector<std::vector<PimRowShape>> plain_pim_work(const PimGeometry& g,
                                                            const PimWork& work) {
  std::vector<std::int64_t> done(static_cast<std::size_t>(work.num_blocks), 0);
  std::vector<std::int64_t> block_of(static_cast<std::size_t>(g.num_banks()), -1);
  std::vector<std::vector<PimRowShape>> rows(static_cast<std::size_t>(g.num_pseudo_channels()));
  std::int64_t left = work.num_blocks * work.chunks_per_block;
  for (bool is_first = true; left > 0; is_first = false) {
    if (left < g.num_banks() && !is_first && !work.keeps_incomplete_round) break;
    std::size_t bank = 0;
    for (auto& channel_rows : rows) {
      if (left == 0) break;
      PimRowShape shape;
      for (std::int64_t group = 0; group < g.bank_groups; ++group) {
        std::int64_t starting = 0;
        std::int64_t working = 0;
        for (std::int64_t b = 0; b < g.banks_per_group; ++b, ++bank) {
          if (left == 0) continue;
          std::int64_t& block = block_of[bank];
          if (block < 0 || done[static_cast<std::size_t>(block)] == work.chunks_per_block) {
            block = std::min_element(done.begin(), done.end()) - done.begin();
            starting += work.tells_starts ? 1 : 0;
          }
          ++done[static_cast<std::size_t>(block)];
          ++working;
          --left;
        }
        shape.starting.push_back(starting);
        shape.working.push_back(working);
      }
      channel_rows.push_back(shape);
    }
  }
  return rows;
}

}  // namespace lowbank::pim::testing
