#pragma once

// Reads a stream of commands and knows nothing but the memory's timing constraints: no rows, no
// schedule, no engine.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "pim/pim_channel.h"

namespace lowbank::pim::testing {

struct TracedCommand {
  std::int64_t cycle = 0;
  std::int64_t pseudo_channel = 0;  // -1: all
  PimCommand command = PimCommand::kBarrier;
  std::int64_t bank_group = -1;
  std::int64_t num_hidden = 0;
};

/// Timing constraints in cycles, named as in the preset.
struct PimConstraints {
  std::int64_t nBL, nCCDL, nRCDRD, nRCDWR, nRP, nRAS, nWR, nRTPL, nRRDS, nFAW, nRFC, nREFI;
  bool issues_refresh = false;
};

/// One line for each rule that a command of one channel breaks.
class PimRuleChecker {
 public:
  explicit PimRuleChecker(const PimConstraints& constraints) : c_(constraints) {}

  std::vector<std::string> check(const std::vector<TracedCommand>& commands) {
    for (const TracedCommand& command : commands) {
      at_ = &command;
      expect(command.cycle > last_cycle_, "one command a cycle");
      last_cycle_ = command.cycle;
      if (command.command == PimCommand::kRefresh) {
        refresh();
        continue;
      }
      Side& side = sides_[command.pseudo_channel];
      if (refreshed_ > kLongAgo) after(refreshed_, c_.nRFC, "refresh to any command");
      if (command.command != PimCommand::kBarrier) {
        expect(side.has_barrier, "no row without a barrier");
      }
      visit(side);
    }
    for (const auto& [number, side] : sides_) expect(!side.is_open, "no row left open");
    return broken_;
  }

 private:
  static constexpr std::int64_t kLongAgo = -1'000'000'000;
  struct Side {
    bool has_barrier = false;
    bool is_open = false;
    std::map<std::int64_t, std::int64_t> activated;  // cycle, by bank group
    std::int64_t activate = kLongAgo, hidden_writes = 0;
    std::int64_t compute = kLongAgo, precharge = kLongAgo, hidden_results = 0;
    std::int64_t write = kLongAgo, read = kLongAgo;
  };

  void expect(bool holds, const std::string& rule) {
    if (!holds) broken_.push_back(fmt::format("{}: {}", at_->cycle, rule));
  }
  void after(std::int64_t earlier, std::int64_t gap, const std::string& rule) {
    expect(at_->cycle >= earlier + gap, rule);
  }

  void visit(Side& side) {
    const std::int64_t now = at_->cycle;
    switch (at_->command) {
      case PimCommand::kBarrier:
        expect(!side.is_open, "barrier between rows only");
        after(side.precharge, c_.nRP, "tRP");
        after(side.precharge,
              side.hidden_results > 0 ? side.hidden_results * std::max(c_.nCCDL, c_.nBL) + 1 : 0,
              "results behind precharge");
        side.has_barrier = true;
        side.activated.clear();
        side.activate = side.compute = side.write = side.read = kLongAgo;
        return;
      case PimCommand::kWriteRegister:
        after(side.write, c_.nCCDL, "tCCD_L between register writes");
        side.write = now;
        return;
      case PimCommand::kActivate:
        expect(!side.activated.contains(at_->bank_group), "a bank group is activated once");
        expect(side.compute == kLongAgo, "activate before compute");
        after(side.precharge, c_.nRP, "tRP");
        after(side.activate, c_.nRRDS, "tRRD_S");
        after(side.activate, c_.nFAW, "tFAW");
        after(side.write, c_.nCCDL, "register write to activate");
        if (side.activate > kLongAgo) after_hidden_writes(side);
        side.activated[at_->bank_group] = now;
        side.activate = now;
        side.hidden_writes = at_->num_hidden;
        side.is_open = true;
        return;
      case PimCommand::kCompute:
        expect(side.is_open, "compute in an open row");
        for (const auto& [group, cycle] : side.activated) {
          after(cycle, std::max(c_.nRCDRD, c_.nRCDWR), "tRCD");
        }
        after_hidden_writes(side);
        after(side.compute, c_.nCCDL, "tCCD_L");
        side.compute = now;
        return;
      case PimCommand::kReadResult:
        after(side.compute, c_.nCCDL, "compute to result");
        after(side.read, std::max(c_.nCCDL, c_.nBL), "tCCD_L between results");
        side.read = now;
        return;
      case PimCommand::kPrecharge:
        expect(side.is_open, "precharge of an open row");
        for (const auto& [group, cycle] : side.activated) after(cycle, c_.nRAS, "tRAS");
        after(side.compute, c_.nRTPL, "tRTP");
        after(side.compute, c_.nWR, "tWR");
        side.precharge = now;
        side.hidden_results = at_->num_hidden;
        side.is_open = side.has_barrier = false;
        return;
      case PimCommand::kRefresh:
        return;
    }
  }

  void after_hidden_writes(const Side& side) {
    if (side.hidden_writes == 0) return;
    after(side.activate, side.hidden_writes * c_.nCCDL + 2, "register writes behind activate");
    after(side.activate, side.hidden_writes * c_.nBL + 2, "bursts behind activate");
  }

  void refresh() {
    expect(c_.issues_refresh, "no refresh where none is issued");
    for (const auto& [number, side] : sides_) {
      expect(!side.is_open && !side.has_barrier, "refresh between rows only");
      after(side.precharge, c_.nRP, "tRP before refresh");
    }
    ++num_refreshes_;
    expect(at_->cycle >= num_refreshes_ * c_.nREFI, "refresh before it is due");
    // A row may run over its estimate by what the other pseudo-channel's commands cost it.
    expect(at_->cycle <= num_refreshes_ * c_.nREFI + kSlack, "refresh overdue");
    refreshed_ = at_->cycle;
  }

  static constexpr std::int64_t kSlack = 32;
  PimConstraints c_;
  const TracedCommand* at_ = nullptr;
  std::map<std::int64_t, Side> sides_;
  std::int64_t last_cycle_ = 0;
  std::int64_t refreshed_ = kLongAgo;
  std::int64_t num_refreshes_ = 0;
  std::vector<std::string> broken_;
};

}  // namespace lowbank::pim::testing
