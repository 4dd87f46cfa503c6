#include "compress/rank_policy.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

[[noreturn]] void reject_policy(const std::string& text, const std::string& allowed) {
  throw ConfigError(fmt::format("rank: '{}' is not {}", text, allowed));
}

}  // namespace

std::int64_t break_even_rank(std::int64_t out_features, std::int64_t in_features) {
  return std::max<std::int64_t>(1, out_features * in_features / (out_features + in_features));
}

RankPolicy::RankPolicy(const std::string& text) {
  if (text == "break_even") {
    kind_ = Kind::kBreakEven;
    return;
  }
  const auto colon = text.find(':');
  const std::string name = text.substr(0, colon);
  if (name == "ratio")
    kind_ = Kind::kRatio;
  else if (name == "fraction")
    kind_ = Kind::kFraction;
  else if (name == "energy")
    kind_ = Kind::kEnergy;
  else if (name == "fixed")
    kind_ = Kind::kFixed;
  else
    reject_policy(text, "one of break_even, ratio:X, fraction:X, energy:X, fixed:K");
  const char* const begin = text.data() + (colon == std::string::npos ? text.size() : colon + 1);
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, value_);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == end;
  if (kind_ == Kind::kFixed) {
    if (!is_number || value_ < 1 || value_ != std::floor(value_) || value_ > 1e9) {
      reject_policy(text, "fixed:K with a whole number K >= 1");
    }
  } else if (kind_ == Kind::kRatio) {
    if (!is_number || !(value_ > 0) || value_ > 1e9) reject_policy(text, "ratio:X with X > 0");
  } else if (!is_number || !(value_ > 0) || value_ > 1) {
    reject_policy(text, name + ":X with X in (0, 1]");
  }
}

std::int64_t RankPolicy::rank(const std::string& path, std::int64_t out_features,
                              std::int64_t in_features, const torch::Tensor& s_R) const {
  const std::int64_t full = std::min(out_features, in_features);
  const auto scaled = [](double part, std::int64_t whole) {
    // Without the tiny excess, a product that should be 3 but is 2.9999999999999996 would give 2.
    return std::max<std::int64_t>(
        1, static_cast<std::int64_t>(part * static_cast<double>(whole) * (1 + 1e-12)));
  };
  std::int64_t rank = 0;
  switch (kind_) {
    case Kind::kBreakEven:
      rank = break_even_rank(out_features, in_features);
      break;
    case Kind::kRatio:
      rank = scaled(value_, break_even_rank(out_features, in_features));
      break;
    case Kind::kFraction:
      rank = scaled(value_, full);
      break;
    case Kind::kFixed:
      rank = static_cast<std::int64_t>(value_);
      break;
    case Kind::kEnergy: {
      const auto held_R = s_R.to(c10::kDouble).square().cumsum(0);
      const double wanted = value_ * held_R[-1].item<double>();
      rank = std::min<std::int64_t>(full, (held_R < wanted).sum().item<std::int64_t>() + 1);
      break;
    }
  }
  if (rank > full) {
    throw ConfigError(fmt::format("rank: {} asks for rank {}, its full rank is {} ({} x {})", path,
                                  rank, full, out_features, in_features));
  }
  return rank;
}

}  // namespace lowbank
