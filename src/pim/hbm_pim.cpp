#include "pim/hbm_pim.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "pim/workload.h"

namespace lowbank::pim {
namespace {

constexpr std::int64_t kMaxTracedRows = 5'000;  // some 40 MB of text

std::int64_t blocks_of(std::int64_t size, std::int64_t block) { return (size - 1) / block + 1; }

std::int64_t whole(const SystemPreset& preset, std::string_view key) {
  return static_cast<std::int64_t>(preset.value(key));
}

std::string describe(const PimCall& call) {
  return fmt::format("{} operators of {} x {} in memory", call.num_op, call.head_dim,
                     call.state_dim);
}

std::int64_t checked_product(std::int64_t a, std::int64_t b, const PimCall& call) {
  std::int64_t product = 0;
  // A factor of 1000 is left for what a row counts.
  if (__builtin_mul_overflow(a, b, &product) || product > (std::int64_t{1} << 52)) {
    throw ConfigError(describe(call) + ": their commands cannot be counted in 63 bits");
  }
  return product;
}

}  // namespace

std::vector<PimSection> PimProgram::plan(std::size_t pseudo_channel) const {
  std::vector<PimSection> sections = {schedule.turns};
  for (const PimRun& run : schedule.ends[pseudo_channel]) {
    sections.push_back({.runs = {{.row = run.row, .count = 1}}, .repeats = run.count});
  }
  return sections;
}

HbmPimModel::HbmPimModel(const SystemPreset& given, const Corrections& corrections)
    : corrections_(corrections) {
  const SystemPreset preset = given.with_hardware(corrections.built_hardware);
  file_ = preset.file;
  geometry_ = {.num_channels = whole(preset, "num_channels"),
               .pseudo_channels = whole(preset, "pseudo_channels_per_channel"),
               .bank_groups = whole(preset, "bank_groups"),
               .banks_per_group = whole(preset, "banks_per_group")};
  atom_bytes_ = whole(preset, "atom_bytes");
  chunk_columns_ = whole(preset, "chunk_columns");
  element_bytes_ = whole(preset, "element_bytes");
  update_computes_ = whole(preset, "update_comps_per_row");
  attention_computes_ = whole(preset, "attention_comps_per_row");
  start_writes_ = whole(preset, "block_start_writes");
  attention_writes_ = whole(preset, "attention_writes_per_row");
  attend_results_ = whole(preset, "attend_results_per_row");
  results_per_byte_ = whole(preset, "results_per_row_and_byte");
  hides_transfers_ = preset.value("hides_transfers") > 0;
  clock_mhz_ = preset.value("clock_mhz");
  burst_ = whole(preset, "nBL");
  column_ = whole(preset, "nCCDL");
  row_to_column_ = std::max(cycles_of(preset, "nRCDRD"), cycles_of(preset, "nRCDWR"));
  recovery_ = std::max(cycles_of(preset, "nRTPL"), cycles_of(preset, "nWR"));
  precharge_ = cycles_of(preset, "nRP");
  row_active_ = cycles_of(preset, "nRAS");
  activate_gap_ = std::max(cycles_of(preset, "nRRDS"), cycles_of(preset, "nFAW"));
  refresh_ = {.interval = cycles_of(preset, "nREFI"),
              .duration = corrections.refresh ? cycles_of(preset, "nRFC") : 0,
              .precharge = precharge_};
  activate_pj_ = preset.value("activate_pj");
  compute_pj_ = preset.value("compute_pj");
  transfer_pj_ = preset.value("transfer_pj");
  if (geometry_.num_banks() > 1'000'000) {
    throw ConfigError(
        fmt::format("{}: constants: {} banks are absurd", file_, geometry_.num_banks()));
  }
  program({.kind = PimKind::kStateUpdate,
           .num_op = geometry_.banks_per_pseudo_channel(),
           .head_dim = atom_bytes_,
           .state_dim = chunk_columns_});
}

// The reference keeps cycles when the clock rises, which shortens the memory's own delays; a real
// device keeps its nanoseconds.
std::int64_t HbmPimModel::cycles_of(const SystemPreset& preset, std::string_view key) const {
  const double cycles = preset.value(key);
  if (!corrections_.timings_in_ns) return static_cast<std::int64_t>(cycles);
  const double ratio = preset.value("clock_mhz") / preset.value("timing_clock_mhz");
  const double at_clock = std::ceil(cycles * ratio - 1e-9);
  if (!(at_clock < 1e9)) {
    throw ConfigError(fmt::format("{}: constants.{}: {} cycles at the actual clock are absurd",
                                  preset.file, key, at_clock));
  }
  return static_cast<std::int64_t>(at_clock);
}

void HbmPimModel::check(const PimCall& call, std::int64_t element_bytes) const {
  for (const auto& [name, value] :
       {std::pair("num_op", call.num_op), std::pair("head_dim", call.head_dim),
        std::pair("state_dim", call.state_dim)}) {
    if (value < 1 || value > kMaxDimension) {
      throw ConfigError(
          fmt::format("{}: {} must be in [1, 2^40]; got {}", describe(call), name, value));
    }
  }
  if (element_bytes < 1 || element_bytes > atom_bytes_ || atom_bytes_ % element_bytes != 0) {
    throw ConfigError(fmt::format("{}: an element must divide an atom of {} bytes; got {} bytes",
                                  describe(call), atom_bytes_, element_bytes));
  }
}

PimRow HbmPimModel::make_row(const PimRowShape& shape, std::int64_t start_writes,
                             std::int64_t go_on_writes, std::int64_t num_computes,
                             std::int64_t num_results, std::int64_t state_results) const {
  const std::int64_t transfer = std::max(burst_, column_);
  PimRow row;
  row.steps.push_back({.command = PimCommand::kBarrier});
  std::int64_t activate_gap = 0;  // from the activation before
  std::int64_t column_gap = 0;
  for (std::size_t g = 0; g < shape.working.size(); ++g) {
    if (shape.working[g] == 0) continue;
    const std::int64_t writes =
        shape.starting[g] * start_writes + (shape.working[g] - shape.starting[g]) * go_on_writes;
    const auto group = static_cast<std::int64_t>(g);
    const bool writes_apart = !hides_transfers_ && writes > 0;
    if (writes_apart) {
      row.steps.push_back({.command = PimCommand::kWriteRegister,
                           .count = writes,
                           .stride = column_,
                           .bank_group = group});
    }
    const std::int64_t hidden = hides_transfers_ ? writes : 0;
    row.steps.push_back({.command = PimCommand::kActivate,
                         .gap = writes_apart ? column_ : 1,
                         .activate_gap = activate_gap,
                         .bank_group = group,
                         .num_hidden = hidden});
    activate_gap = std::max({activate_gap_, hidden * burst_ + 2, hidden * column_ + 2});
    column_gap = std::max(row_to_column_, hidden * column_ + 2);
    row.num_register_writes += writes;
    ++row.num_activates;
  }
  row.steps.push_back({.command = PimCommand::kCompute,
                       .count = num_computes,
                       .stride = column_,
                       .activate_gap = column_gap});
  if (!hides_transfers_) {
    row.steps.push_back({.command = PimCommand::kReadResult,
                         .count = num_results,
                         .stride = transfer,
                         .gap = column_});
  }
  row.steps.push_back({.command = PimCommand::kPrecharge,
                       .gap = recovery_,
                       .activate_gap = row_active_,
                       .num_hidden = hides_transfers_ ? num_results : 0});
  const std::int64_t reading = hides_transfers_ ? num_results * transfer + 1 : 1;
  row.next_gap = std::max(precharge_, reading);

  if (corrections_.refresh) {
    std::int64_t at = 0;
    std::int64_t last_activate = 0;
    for (const PimStep& step : row.steps) {
      at = std::max(at + step.gap, last_activate + step.activate_gap);
      if (step.command == PimCommand::kBarrier) at = 0;
      if (step.command == PimCommand::kActivate) last_activate = at;
      at += (step.count - 1) * step.stride;
    }
    row.length = at + row.next_gap;
  } else {
    // The reference's own estimate, which is not quite the row's length.
    const std::int64_t groups = geometry_.bank_groups;
    const std::int64_t writes = (row.num_register_writes + groups - 1) / groups;
    const std::int64_t write_time = 1 + writes * column_;
    row.length = (groups - 1) * std::max(activate_gap_, write_time) +
                 std::max(row_to_column_, write_time) + num_computes * column_ + recovery_ +
                 std::max(precharge_, state_results * column_);
  }
  if (row.length + refresh_.duration >= refresh_.interval) {
    throw ConfigError(fmt::format(
        "{}: constants.nREFI: {} cycles between refreshes leave no room for a row of {} cycles and "
        "a refresh of {}",
        file_, refresh_.interval, row.length, refresh_.duration));
  }
  return row;
}

PimProgram HbmPimModel::program(const PimCall& call) const {
  const std::int64_t element_bytes = call.element_bytes.value_or(element_bytes_);
  check(call, element_bytes);
  const bool is_update = call.kind == PimKind::kStateUpdate;
  const std::int64_t blocks =
      checked_product(blocks_of(call.head_dim, atom_bytes_ / element_bytes), call.num_op, call);
  const std::int64_t chunks = blocks_of(call.state_dim, chunk_columns_);
  const std::int64_t pairs = checked_product(blocks, chunks, call);
  const std::int64_t banks = geometry_.banks_per_pseudo_channel();
  if (!corrections_.last_round && pairs % banks != 0) {
    throw ConfigError(fmt::format(
        "{}: {} row blocks are not a multiple of {} banks; the reference has no value for it; use "
        "mode=physical",
        describe(call), pairs, banks));
  }

  // Bytes of a state element's column in atoms: what a register write or a result carries.
  const std::int64_t atoms =
      std::max<std::int64_t>(element_bytes * chunk_columns_ / atom_bytes_, 1);
  const std::int64_t state_results = results_per_byte_ * atoms;
  const std::int64_t results = call.kind == PimKind::kAttend ? attend_results_ : state_results;
  PimProgram program;
  program.refresh = refresh_;
  program.computes_per_row = is_update ? update_computes_ : attention_computes_;
  program.transfers_per_row = corrections_.single_results ? results : 8 * results + 1;
  program.schedule =
      spread_pim_work(geometry_, {.num_blocks = blocks,
                                  .chunks_per_block = chunks,
                                  .tells_starts = is_update,
                                  .keeps_incomplete_round = corrections_.last_round});
  for (const PimRowShape& shape : program.schedule.shapes) {
    program.rows.push_back(make_row(shape, is_update ? start_writes_ + atoms : attention_writes_,
                                    is_update ? atoms : attention_writes_, program.computes_per_row,
                                    results, state_results));
  }
  return program;
}

PimCounts HbmPimModel::count(const PimCall& call) const {
  const PimProgram program = this->program(call);
  const PimSchedule& schedule = program.schedule;

  PimCounts counts;
  const auto add_rows = [&](const PimRun& run, std::int64_t times) {
    const PimRow& row = program.rows[static_cast<std::size_t>(run.row)];
    const std::int64_t rows = run.count * times;
    counts.num_activations += rows * row.num_activates * geometry_.banks_per_group;
    counts.num_computes += rows * program.computes_per_row;
    counts.num_transfers += rows * (row.num_register_writes + program.transfers_per_row);
  };
  for (const PimRun& run : schedule.turns.runs) {
    add_rows(run, schedule.turns.repeats * geometry_.num_pseudo_channels());
  }
  for (const auto& runs : schedule.ends) {
    for (const PimRun& run : runs) add_rows(run, 1);
  }

  // Channels with the same rows to do take the same time.
  const auto lanes = static_cast<std::size_t>(geometry_.pseudo_channels);
  std::map<std::vector<std::vector<PimRun>>, bool> done;
  for (std::size_t first = 0; first < schedule.ends.size(); first += lanes) {
    const auto begin = schedule.ends.begin() + static_cast<std::ptrdiff_t>(first);
    if (!done.try_emplace({begin, begin + static_cast<std::ptrdiff_t>(lanes)}, true).second) {
      continue;
    }
    std::vector<std::vector<PimSection>> plans;
    for (std::size_t i = 0; i < lanes; ++i) plans.push_back(program.plan(first + i));
    counts.cycles =
        std::max(counts.cycles, simulate_pim_channel(program.rows, plans, program.refresh) + 1);
  }
  return counts;
}

OperatorCost HbmPimModel::cost(const PimCall& call) const {
  const PimCounts counts = count(call);
  OperatorCost cost;
  cost.latency_ns = static_cast<double>(counts.cycles) / clock_mhz_ * 1e3;
  cost.energy_pj.add("pim_activate", static_cast<double>(counts.num_activations) * activate_pj_);
  cost.energy_pj.add("pim_compute", static_cast<double>(counts.num_computes) * compute_pj_);
  cost.energy_pj.add("pim_transfer", static_cast<double>(counts.num_transfers) * transfer_pj_);
  return cost;
}

void HbmPimModel::trace(const PimCall& call, const PimCallListener& listener) const {
  const PimProgram program = this->program(call);
  const auto lanes = static_cast<std::size_t>(geometry_.pseudo_channels);
  std::int64_t num_rows = 0;
  for (const PimRun& run : program.schedule.turns.runs) {
    num_rows += run.count * program.schedule.turns.repeats * geometry_.num_pseudo_channels();
  }
  for (const auto& runs : program.schedule.ends) {
    for (const PimRun& run : runs) num_rows += run.count;
  }
  if (num_rows > kMaxTracedRows) {
    throw ConfigError(fmt::format("{}: a trace of {} rows is too long; at most {}", describe(call),
                                  num_rows, kMaxTracedRows));
  }
  for (std::size_t first = 0; first < program.schedule.ends.size(); first += lanes) {
    std::vector<std::vector<PimSection>> plans;
    for (std::size_t i = 0; i < lanes; ++i) plans.push_back(program.plan(first + i));
    const auto channel = static_cast<std::int64_t>(first / lanes);
    simulate_pim_channel(program.rows, plans, program.refresh,
                         [&](std::int64_t cycle, std::int64_t pseudo_channel, const PimStep& step) {
                           listener(channel, cycle, pseudo_channel, step);
                         });
  }
}

}  // namespace lowbank::pim
