#pragma once

#include <cstdint>
#include <set>
#include <span>

#include "core/philox.h"

namespace lowbank {

/// How tokens are chosen for a masked language model to guess, and what replaces them.
struct MaskingRule {
  std::int64_t mask_id = 0;
  std::int64_t vocab_size = 0;
  std::set<std::int64_t> special_ids = {};  ///< never chosen, and never put in by chance
  double chosen_frac = 0.15;                ///< of the tokens that are not special
};

/// Chooses the tokens of one sequence that are to be guessed. `targets` gets their ids, and
/// kIgnoreIndex of kernels/cross_entropy.h at all other places. In `ids`, 80 % of the chosen tokens
/// become the mask token, 10 % a random token, and 10 % stay as they are. Returns the number of
/// chosen tokens: the rounded share of those that are not special, at least one; 0 where all tokens
/// are special.
///
/// Source:  Devlin et al. 2019, section 3.1; create_pretraining_data.py of google-research/bert.
/// Differs: the share is of the tokens that are not special; random tokens are not special either.
std::int64_t mask_tokens_(std::span<std::int64_t> ids, std::span<std::int64_t> targets,
                          const MaskingRule& rule, const RandomKey& key);

}  // namespace lowbank
