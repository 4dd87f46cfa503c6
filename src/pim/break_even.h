#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pim/crossing.h"
#include "pim/estimator.h"

namespace lowbank::pim {

/// What is counted upwards while one cost is compared with another.
enum class SweepAxis { kBatch, kContext, kRank };
/// "batch", "context" or "rank".
std::string axis_name(SweepAxis axis);

inline constexpr std::int64_t kMostSweptBatch = 4096;
inline constexpr std::int64_t kMostSweptContext = std::int64_t{1} << 20;

/// Where something takes less time, and where less energy, than what it is compared with.
struct BreakEven {
  SweepAxis axis = SweepAxis::kBatch;
  std::int64_t low = 1;
  std::int64_t high = 1;             ///< of the axis
  SignCourse time;                   ///< positive: less time
  std::optional<SignCourse> energy;  ///< none where one of the two is not known
  bool differs = false;              ///< anywhere; else it is the same machine that does the work
};

/// A system against another, for a whole phase of a workload: over the batch (1 to kMostSweptBatch)
/// at the workload's context, and over the context (1 to kMostSweptContext) at its batch.
/// Errors: those of reshape_workload and System::price at any of these sizes.
std::vector<BreakEven> system_break_even(const System& base, const System& other,
                                         const Workload& workload, Phase phase);

/// A linear (a factored one: both products), an attention product, a convolution or a scan that
/// stands for all equal ones of a phase.
struct DistinctOperator {
  std::string name;                ///< of the first; the number of its block is a *
  std::int64_t num_equal = 0;      ///< of the phase
  std::vector<Operator> products;  ///< one, or the two of a factored layer
};
std::vector<DistinctOperator> distinct_operators(const std::vector<Operator>& operators);

/// system_break_even for a single operator of the workload.
std::vector<BreakEven> system_break_even(const System& base, const System& other,
                                         const Workload& workload, Phase phase,
                                         const DistinctOperator& op);

/// A linear factored at each rank against the dense one, in x out: positive where factoring pays.
/// Ranks go from 1 to min(in, out). `op` is a linear, factored or not.
BreakEven rank_break_even(const System& system, const Workload& workload, Phase phase,
                          const DistinctOperator& op);

}  // namespace lowbank::pim
