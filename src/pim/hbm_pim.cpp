#include "pim/hbm_pim.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

std::int64_t blocks_of(std::int64_t size, std::int64_t block) { return (size - 1) / block + 1; }

std::int64_t checked_product(std::int64_t a, std::int64_t b, const PimCall& call) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw ConfigError(
        fmt::format("attention in memory: {} operators x head size {} x context {} has counts that "
                    "do not fit in 63 bits",
                    call.num_op, call.head_dim, call.context));
  }
  return product;
}

}  // namespace

HbmPimModel::HbmPimModel(const SystemPreset& preset, EstimateMode mode)
    : preset_(preset), mode_(mode) {
  if (whole("kv_element_bytes") > whole("atom_bytes")) {
    throw ConfigError(
        fmt::format("{}: constants.kv_element_bytes: must be <= atom_bytes ({}); got {}",
                    preset_.file, whole("atom_bytes"), whole("kv_element_bytes")));
  }
  count({.kind = OperatorKind::kScore, .num_op = 16, .head_dim = 32, .context = 32});
}

std::int64_t HbmPimModel::whole(std::string_view key) const {
  return static_cast<std::int64_t>(preset_.value(key));
}

// The reference keeps cycles when the clock rises, which shortens the memory's own delays; a real
// device keeps its nanoseconds.
std::int64_t HbmPimModel::cycles_of(std::string_view key) const {
  const double cycles = preset_.value(key);
  if (mode_ == EstimateMode::kReference) return static_cast<std::int64_t>(cycles);
  const double ratio = preset_.value("clock_mhz") / preset_.value("timing_clock_mhz");
  const double at_clock = std::ceil(cycles * ratio - 1e-9);
  if (!(at_clock < 1e12)) {
    throw ConfigError(fmt::format("{}: constants.{}: {} cycles at the actual clock are absurd",
                                  preset_.file, key, at_clock));
  }
  return static_cast<std::int64_t>(at_clock);
}

PimCounts HbmPimModel::count(const PimCall& call) const {
  const bool is_reference = mode_ == EstimateMode::kReference;
  const std::int64_t num_groups = whole("bank_groups");
  const std::int64_t banks = num_groups * whole("banks_per_group");
  const std::int64_t num_pseudo_channels =
      whole("num_channels") * whole("pseudo_channels_per_channel");
  const std::int64_t element_bytes = whole("kv_element_bytes");

  // A bank's row holds 32 columns of a block of the head's elements.
  const std::int64_t block_rows = whole("atom_bytes") / element_bytes;
  const std::int64_t row_blocks =
      checked_product(blocks_of(call.head_dim, block_rows), call.num_op, call);
  const std::int64_t pairs =
      checked_product(row_blocks, blocks_of(call.context, whole("chunk_columns")), call);
  if (is_reference && pairs % banks != 0) {
    throw ConfigError(
        fmt::format("attention in memory: {} operators of head size {} and context {} make {} row "
                    "blocks, not a "
                    "multiple of {} banks; the reference has no value for it; use mode=physical",
                    call.num_op, call.head_dim, call.context, pairs, banks));
  }
  const std::int64_t pairs_per_round = checked_product(num_pseudo_channels, banks, call);
  const std::int64_t full_rounds = pairs / pairs_per_round;
  // The reference drops the rows of an incomplete last round unless it is the only one.
  const bool keeps_all = !is_reference || full_rounds == 0;
  const std::int64_t rounds = keeps_all ? blocks_of(pairs, pairs_per_round) : full_rounds;
  const std::int64_t num_rows =
      keeps_all ? blocks_of(pairs, banks) : full_rounds * num_pseudo_channels;

  // One row of a pseudo-channel: barrier, an ACT4 for every bank group with one register write a
  // bank hidden in it, COMPs, PRECHARGE with the results hidden in it.
  const std::int64_t burst = whole("nBL");
  const std::int64_t column = whole("nCCDL");
  const std::int64_t writes = whole("banks_per_group");
  const std::int64_t computes = whole("attention_comps_per_row");
  const std::int64_t results = call.kind == OperatorKind::kAttend
                                   ? whole("attend_results_per_row")
                                   : whole("score_results_per_row_and_byte") * element_bytes;
  const std::int64_t row_to_column = std::max(cycles_of("nRCDRD"), cycles_of("nRCDWR"));
  const std::int64_t recovery = std::max(cycles_of("nRTPL"), cycles_of("nWR"));
  const std::int64_t act_gap = std::max(std::max(cycles_of("nRRDS"), cycles_of("nFAW")),
                                        writes * std::max(burst, column) + 2);
  const std::int64_t last_act_to_precharge =
      std::max(cycles_of("nRAS"),
               std::max(row_to_column, writes * column + 2) + (computes - 1) * column + recovery);
  const std::int64_t precharge_gap =
      std::max(cycles_of("nRP"), results * std::max(column, burst) + 1);
  const std::int64_t busy = 1 + (num_groups - 1) * act_gap + last_act_to_precharge;
  const std::int64_t period = busy + precharge_gap;

  // A row starts only if it ends before the next refresh; what "ends" means is the reference's own
  // estimate of a row's length, slightly above the period.
  const std::int64_t write_time = 1 + writes * column;
  const std::int64_t length =
      (num_groups - 1) * std::max(std::max(cycles_of("nRRDS"), cycles_of("nFAW")), write_time) +
      std::max(row_to_column, write_time) + computes * column + recovery +
      std::max(cycles_of("nRP"), whole("score_results_per_row_and_byte") * element_bytes * column);
  const std::int64_t interval = cycles_of("nREFI");
  const std::int64_t refresh = is_reference ? 0 : cycles_of("nRFC");
  const std::int64_t slack = interval - std::max(length, period) - 1;
  if (slack < refresh || slack < 1) {
    throw ConfigError(fmt::format(
        "{}: constants.nREFI: {} cycles between refreshes leave no room for a row of {} cycles",
        preset_.file, interval, std::max(length, period)));
  }
  const std::int64_t rows_first = (slack - 1) / period + 1;  // the first cycle is 1
  const std::int64_t rows_later = (slack - refresh) / period + 1;
  std::int64_t last_start = 1 + (rounds - 1) * period;
  if (rounds > rows_first) {
    const std::int64_t later = rounds - rows_first - 1;
    last_start = checked_product(1 + later / rows_later, interval, call) + refresh +
                 (later % rows_later) * period;
  }

  return {.cycles = last_start + busy + 1,
          .num_activations = checked_product(num_rows, banks, call),
          .num_computes = checked_product(num_rows, computes, call),
          // The reference counts 8 transfers and one more for every result.
          .num_transfers =
              checked_product(num_rows, banks + (is_reference ? 8 * results + 1 : results), call)};
}

OperatorCost HbmPimModel::cost(const PimCall& call) const {
  const PimCounts counts = count(call);
  OperatorCost cost;
  cost.latency_ns = static_cast<double>(counts.cycles) / preset_.value("clock_mhz") * 1e3;
  cost.energy_pj.add("pim_activate",
                     static_cast<double>(counts.num_activations) * preset_.value("activate_pj"));
  cost.energy_pj.add("pim_compute",
                     static_cast<double>(counts.num_computes) * preset_.value("compute_pj"));
  cost.energy_pj.add("pim_transfer",
                     static_cast<double>(counts.num_transfers) * preset_.value("transfer_pj"));
  return cost;
}

}  // namespace lowbank
