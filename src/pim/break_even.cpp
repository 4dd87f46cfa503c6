#include "pim/break_even.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "pim/reshape.h"

namespace lowbank::pim {
namespace {

// A cost as good as the other but for rounding is no gain.
constexpr double kEqual = 1e-9;

// Ratios of cost at one place of the sweep: above 0 where the second is cheaper.
struct Gains {
  double time = 0;
  std::optional<double> energy;  // none if it is not known of both
};

template <class GainsAt>
BreakEven compare(SweepAxis axis, std::int64_t high, const GainsAt& gains_at) {
  std::map<std::int64_t, Gains> known;  // time and energy come from the same prices
  const auto at = [&](std::int64_t place) -> const Gains& {
    const auto entry = known.find(place);
    return entry != known.end() ? entry->second
                                : known.emplace(place, gains_at(place)).first->second;
  };
  BreakEven result = {.axis = axis, .low = 1, .high = high, .time = {}, .energy = {}};
  result.time = sign_course([&](std::int64_t place) { return at(place).time; }, 1, high);
  if (at(1).energy) {
    result.energy =
        sign_course([&](std::int64_t place) { return at(place).energy.value(); }, 1, high);
  }
  result.differs = std::any_of(known.begin(), known.end(), [](const auto& entry) {
    return std::abs(entry.second.time + kEqual) > kEqual ||
           std::abs(entry.second.energy.value_or(-kEqual) + kEqual) > kEqual;
  });
  return result;
}

Gains gains_of(const PhaseCost& base, const PhaseCost& other) {
  Gains gains = {.time = base.latency_ns / other.latency_ns - 1 - kEqual, .energy = {}};
  if (base.knows_energy() && other.knows_energy()) {
    gains.energy = base.energy_pj.total() / other.energy_pj.total() - 1 - kEqual;
  }
  return gains;
}

std::vector<Operator>& operators_of(Workload& workload, Phase phase) {
  return phase == Phase::kPrefill ? workload.prefill : workload.decode;
}

Workload with_only(const Workload& workload, Phase phase, std::vector<Operator> operators) {
  Workload one;
  one.model = workload.model;
  one.batch = workload.batch;
  one.context = workload.context;
  one.num_layers = workload.num_layers;
  one.weight_bits = workload.weight_bits;
  operators_of(one, phase) = std::move(operators);
  return one;
}

// "model.layers.0.mlp.up_proj" -> "model.layers.*.mlp.up_proj"
std::string starred(const std::string& name) {
  std::string text;
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t end = std::min(name.find('.', i), name.size());
    const std::string part = name.substr(i, end - i);
    const bool is_number =
        !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    text += is_number ? "*" : part;
    if (end < name.size()) text += '.';
    i = end + 1;
  }
  return text;
}

bool is_equal(const Operator& a, const Operator& b) {
  return a.kind == b.kind && a.m == b.m && a.n == b.n && a.k == b.k && a.count == b.count &&
         a.queries_per_cache == b.queries_per_cache && a.factored_as == b.factored_as &&
         a.tile == b.tile && a.weight_format == b.weight_format;
}

}  // namespace

std::string axis_name(SweepAxis axis) {
  switch (axis) {
    case SweepAxis::kBatch:
      return "batch";
    case SweepAxis::kContext:
      return "context";
    case SweepAxis::kRank:
      return "rank";
  }
  return "";
}

std::vector<BreakEven> system_break_even(const System& base, const System& other,
                                         const Workload& workload, Phase phase) {
  const auto at = [&](std::int64_t batch, std::int64_t context) {
    const Workload here = reshape_workload(workload, batch, context);
    return gains_of(base.price(here, phase), other.price(here, phase));
  };
  return {compare(SweepAxis::kBatch, kMostSweptBatch,
                  [&](std::int64_t batch) { return at(batch, workload.context); }),
          compare(SweepAxis::kContext, kMostSweptContext,
                  [&](std::int64_t context) { return at(workload.batch, context); })};
}

std::vector<DistinctOperator> distinct_operators(const std::vector<Operator>& operators) {
  std::vector<DistinctOperator> distinct;
  for (std::size_t i = 0; i < operators.size();) {
    const bool is_pair = !operators[i].factored_as.empty() && i + 1 < operators.size();
    const std::size_t length = is_pair ? 2 : 1;
    if (operators[i].k == 0) {  // norms and the like
      ++i;
      continue;
    }
    const auto begin = operators.begin() + static_cast<std::ptrdiff_t>(i);
    std::vector<Operator> products(begin, begin + static_cast<std::ptrdiff_t>(length));
    i += length;
    const auto found = std::find_if(distinct.begin(), distinct.end(), [&](const auto& known) {
      return std::equal(known.products.begin(), known.products.end(), products.begin(),
                        products.end(), is_equal);
    });
    if (found != distinct.end()) {
      ++found->num_equal;
      continue;
    }
    std::string name = starred(products.front().name);
    distinct.push_back({.name = std::move(name), .num_equal = 1, .products = std::move(products)});
  }
  return distinct;
}

std::vector<BreakEven> system_break_even(const System& base, const System& other,
                                         const Workload& workload, Phase phase,
                                         const DistinctOperator& op) {
  return system_break_even(base, other, with_only(workload, phase, op.products), phase);
}

BreakEven rank_break_even(const System& system, const Workload& workload, Phase phase,
                          const DistinctOperator& op) {
  Operator dense = op.products.front();
  dense.n = op.products.back().out_features();
  dense.k = op.products.front().in_features();
  if (dense.tile > 0) dense.count = 1;
  dense.tile = 0;
  dense.factored_as.clear();
  dense.stage = 0;
  dense.rank = 0;
  const Operator& given = op.products.front();
  const double value_bytes =
      given.weight_format.empty()
          ? workload.weight_bits / 8
          : given.weight_bytes / (static_cast<double>(given.n) * static_cast<double>(given.k));
  const auto sized = [&](Operator product, std::int64_t out, std::int64_t in) {
    product.n = out;
    product.k = in;
    product.weight_bytes = static_cast<double>(out) * static_cast<double>(in) * value_bytes;
    return product;
  };
  const std::int64_t in = dense.k;
  const std::int64_t out = dense.n;
  const PhaseCost whole = system.price(with_only(workload, phase, {sized(dense, out, in)}), phase);
  return compare(SweepAxis::kRank, std::min(in, out), [&](std::int64_t rank) {
    Operator first = sized(dense, rank, in);
    first.factored_as = "svd";
    first.rank = rank;
    Operator second = sized(first, out, rank);
    second.stage = 1;
    return gains_of(whole, system.price(with_only(workload, phase, {first, second}), phase));
  });
}

}  // namespace lowbank::pim
