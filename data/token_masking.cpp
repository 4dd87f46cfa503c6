#include "data/token_masking.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <c10/util/Exception.h>

#include "kernels/cross_entropy.h"

namespace lowbank {
namespace {

constexpr float kMaskedFrac = 0.8F, kRandomFrac = 0.1F;

// Draws until the token is not special. Few tokens of a vocabulary are, so one draw nearly always
// suffices.
std::int64_t draw_token(const MaskingRule& rule, const RandomKey& key) {
  for (std::uint64_t i = 0;; ++i) {
    const auto id =
        static_cast<std::int64_t>(key.below(static_cast<std::uint64_t>(rule.vocab_size), i));
    if (!rule.special_ids.contains(id)) return id;
  }
}

}  // namespace

std::int64_t mask_tokens_(std::span<std::int64_t> ids, std::span<std::int64_t> targets,
                          const MaskingRule& rule, const RandomKey& key) {
  TORCH_CHECK(targets.size() == ids.size(), "mask_tokens_: ", targets.size(), " targets of ",
              ids.size(), " tokens");
  std::fill(targets.begin(), targets.end(), kIgnoreIndex);
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!rule.special_ids.contains(ids[i])) candidates.push_back(i);
  }
  if (candidates.empty()) return 0;
  const auto count = static_cast<double>(candidates.size());
  const auto num_chosen = std::max(1L, std::lround(rule.chosen_frac * count));
  std::vector<std::int64_t> order(candidates.size());
  fill_permutation(order, key.derive("places"));
  std::vector<float> draws(static_cast<std::size_t>(num_chosen));
  fill_uniform(draws, key.derive("kinds"));
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const std::size_t place = candidates[static_cast<std::size_t>(order[i])];
    targets[place] = ids[place];
    if (draws[i] < kMaskedFrac) {
      ids[place] = rule.mask_id;
    } else if (draws[i] < kMaskedFrac + kRandomFrac) {
      ids[place] = draw_token(rule, key.derive("tokens").derive(i));
    }
  }
  return num_chosen;
}

}  // namespace lowbank
