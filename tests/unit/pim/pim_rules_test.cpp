// The engine's commands against a checker that knows only the timing constraints.
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "pim/hbm_pim.h"
#include "pim_rule_checker.h"

namespace lowbank::pim {
namespace {

using testing::PimConstraints;
using testing::PimRuleChecker;
using testing::TracedCommand;

SystemPreset pim_preset(const std::string& unit, const std::string& memory, bool hides_transfers) {
  SystemPreset preset =
      combine_hbm_pim("test", load_preset("gpu-a100"), load_preset(memory), load_preset(unit));
  for (auto& constant : preset.constants) {
    if (constant.key == "num_channels") constant.value = 2;
    if (constant.key == "num_channels") constant.reference.reset();
    if (constant.key == "hides_transfers") constant.value = hides_transfers ? 1 : 0;
  }
  return preset;
}

PimConstraints constraints_of(const SystemPreset& given, EstimateMode mode) {
  const bool is_physical = mode == EstimateMode::kPhysical;
  const SystemPreset preset = given.with_hardware(is_physical);
  const double ratio =
      is_physical ? preset.value("clock_mhz") / preset.value("timing_clock_mhz") : 1.0;
  const auto cycles = [&](const char* key) {
    return static_cast<std::int64_t>(std::ceil(preset.value(key) * ratio - 1e-9));
  };
  return {.nBL = static_cast<std::int64_t>(preset.value("nBL")),
          .nCCDL = static_cast<std::int64_t>(preset.value("nCCDL")),
          .nRCDRD = cycles("nRCDRD"),
          .nRCDWR = cycles("nRCDWR"),
          .nRP = cycles("nRP"),
          .nRAS = cycles("nRAS"),
          .nWR = cycles("nWR"),
          .nRTPL = cycles("nRTPL"),
          .nRRDS = cycles("nRRDS"),
          .nFAW = cycles("nFAW"),
          .nRFC = cycles("nRFC"),
          .nREFI = cycles("nREFI"),
          .issues_refresh = is_physical};
}

std::vector<TracedCommand> trace_of(const SystemPreset& preset, EstimateMode mode,
                                    const PimCall& call, std::int64_t wanted_channel = 0) {
  std::vector<TracedCommand> commands;
  HbmPimModel(preset, mode)
      .trace(call, [&](std::int64_t channel, std::int64_t cycle, std::int64_t pseudo_channel,
                       const PimStep& step) {
        if (channel != wanted_channel) return;
        commands.push_back({.cycle = cycle,
                            .pseudo_channel = pseudo_channel,
                            .command = step.command,
                            .bank_group = step.bank_group,
                            .num_hidden = step.num_hidden});
      });
  return commands;
}

TEST(PimRulesTest, NoCommandOfTheEngineBreaksAConstraint) {
  std::size_t num_commands = 0;
  for (const char* const unit : {"unit-hbm-pim", "unit-pimba", "unit-time-multiplexed"}) {
    for (const char* const memory : {"memory-a100", "memory-h100"}) {
      for (const bool hides : {true, false}) {
        const SystemPreset preset = pim_preset(unit, memory, hides);
        for (const EstimateMode mode : {EstimateMode::kReference, EstimateMode::kPhysical}) {
          for (const PimKind kind : {PimKind::kStateUpdate, PimKind::kScore, PimKind::kAttend}) {
            const PimCall call = {.kind = kind, .num_op = 64, .head_dim = 96, .state_dim = 416};
            for (const std::int64_t channel : {0, 1}) {
              const auto commands = trace_of(preset, mode, call, channel);
              num_commands += commands.size();
              EXPECT_EQ(PimRuleChecker(constraints_of(preset, mode)).check(commands),
                        std::vector<std::string>())
                  << unit << " " << memory << " " << hides << " " << static_cast<int>(kind);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(num_commands, 100'000u);
}

// Every command that leaves no slack, moved one cycle ahead, breaks the rule that held it there.
TEST(PimRulesTest, EveryPlantedViolationIsFound) {
  const SystemPreset preset = pim_preset("unit-hbm-pim", "memory-a100", true);
  const PimConstraints constraints = constraints_of(preset, EstimateMode::kPhysical);
  const auto good =
      trace_of(preset, EstimateMode::kPhysical,
               {.kind = PimKind::kStateUpdate, .num_op = 48, .head_dim = 16, .state_dim = 320});
  // A lone pseudo-channel: no command waits for the other's, so all but barriers are as early as
  // they may be.
  std::vector<TracedCommand> alone;
  for (const auto& command : good) {
    if (command.pseudo_channel <= 0) alone.push_back(command);
  }
  std::set<std::string> rules;
  int num_planted = 0;
  const auto expect_found = [&](const std::vector<TracedCommand>& commands,
                                const std::string& what) {
    const auto broken = PimRuleChecker(constraints).check(commands);
    EXPECT_FALSE(broken.empty()) << what;
    for (const auto& line : broken) rules.insert(line.substr(line.find(' ') + 1));
    ++num_planted;
  };
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const TracedCommand& command = alone[i];
    const std::int64_t since = command.cycle - (i > 0 ? alone[i - 1].cycle : 0);
    const std::string what = fmt::format("command {} at {}", i, command.cycle);
    // Two cycles more than the one that the other pseudo-channel may have cost it.
    std::vector<TracedCommand> moved = alone;
    const std::int64_t gap =
        command.command == PimCommand::kCompute && since <= 5 ? since - constraints.nCCDL + 1 : 2;
    if (command.command != PimCommand::kBarrier && command.command != PimCommand::kActivate &&
        command.command != PimCommand::kRefresh) {
      moved[i].cycle -= std::max<std::int64_t>(gap, 1);
      expect_found(moved, what + " moved");
    }
    if (command.command != PimCommand::kCompute) {
      std::vector<TracedCommand> lost = alone;
      lost.erase(lost.begin() + static_cast<std::ptrdiff_t>(i));
      if (command.command != PimCommand::kActivate && command.command != PimCommand::kRefresh) {
        expect_found(lost, what + " left out");
      }
      std::vector<TracedCommand> twice = alone;
      twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), command);
      expect_found(twice, what + " twice in a cycle");
    }
  }
  EXPECT_GT(num_planted, 1000);
  EXPECT_GE(rules.size(), 8u);
}

// One short stream for each rule: right as it stands, wrong with one number changed.
TEST(PimRulesTest, EachRuleIsBrokenByItsOwnPlantedViolation) {
  const PimConstraints c = {.nBL = 2,
                            .nCCDL = 4,
                            .nRCDRD = 14,
                            .nRCDWR = 13,
                            .nRP = 14,
                            .nRAS = 34,
                            .nWR = 16,
                            .nRTPL = 6,
                            .nRRDS = 4,
                            .nFAW = 30,
                            .nRFC = 350,
                            .nREFI = 3900,
                            .issues_refresh = true};
  using C = PimCommand;
  const std::vector<TracedCommand> good = {
      {1, 0, C::kBarrier},         {2, 0, C::kActivate, 0, 2},   {32, 0, C::kActivate, 1, 8},
      {66, 0, C::kCompute},        {70, 0, C::kCompute},         {86, 0, C::kPrecharge, -1, 8},
      {119, 0, C::kBarrier},       {120, 0, C::kActivate, 0, 0}, {134, 0, C::kCompute},
      {154, 0, C::kPrecharge, -1}, {3900, -1, C::kRefresh},      {4250, 0, C::kBarrier}};
  EXPECT_EQ(PimRuleChecker(c).check(good), std::vector<std::string>());
  const auto rules_of = [&](std::size_t index, std::int64_t cycle) {
    std::vector<TracedCommand> bad = good;
    bad[index].cycle = cycle;
    std::string rules;
    for (const auto& line : PimRuleChecker(c).check(bad)) rules += line + "; ";
    return rules;
  };
  const auto expect = [&](std::size_t index, std::int64_t cycle, const char* rule) {
    EXPECT_NE(rules_of(index, cycle).find(rule), std::string::npos)
        << rule << " not in '" << rules_of(index, cycle) << "'";
  };
  expect(1, 1, "one command a cycle");
  expect(2, 31, "tFAW");
  expect(2, 5, "tRRD_S");
  expect(3, 65, "register writes behind activate");
  expect(3, 45, "tRCD");
  expect(4, 69, "tCCD_L");
  expect(5, 85, "tWR");
  expect(5, 72, "tRTP");
  expect(6, 118, "results behind precharge");
  expect(6, 99, "tRP");
  expect(9, 153, "tRAS");
  expect(10, 3899, "refresh before it is due");
  expect(10, 3990, "refresh overdue");
  expect(10, 160, "tRP before refresh");
  expect(11, 4249, "refresh to any command");
}

}  // namespace
}  // namespace lowbank::pim
