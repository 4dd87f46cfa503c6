#pragma once

#include <cstdint>
#include <vector>

#include "pim/workload.h"

namespace lowbank::pim {

/// The workload as it would have been exported for another batch and context.
///
/// Sizes that were one row a token, a sequence or a cached token scale with them; caches and states
/// scale in `activation_bytes`, whose other part goes with the rows. An attention product over
/// fewer keys than the context (a window) keeps them. Reshaping to the
/// workload's own batch and context returns it unchanged.
/// Errors: ConfigError for a batch or context outside [1, 2^40], sizes beyond 63 bits, and an
/// operator whose rows are no multiple of what the workload says.
Workload reshape_workload(const Workload& workload, std::int64_t batch, std::int64_t context);

/// Whether one token more in the cache changes the operator (of a decode step at `context`).
bool reads_context(const Operator& op, std::int64_t context);

/// Elements that an operator keeps from one token to the next, of all sequences: keys, values, states,
/// and the last inputs of a convolution. 0 for operators that keep nothing.
double kept_elements(const Operator& op, std::int64_t batch);

/// The keys that a score, softmax or attend reads. Errors: std::logic_error for other kinds.
std::int64_t& num_keys(Operator& op);

/// The workload whose prompt computes the head for the last token of each sequence only, as a
/// generation does. An encoder's is left as it is.
Workload with_last_token_head(const Workload& workload);

/// The list with every score, softmax and attend that follow one another as one kAttention.
std::vector<Operator> fuse_attention(const std::vector<Operator>& operators);

/// The operators of one of `num_gpus` tensor-parallel GPUs.
///
/// Source:  Megatron-LM's scheme: the first linears after a whole activation are split by output,
///          the next by input, with an all-reduce behind it; what lies between works on a part of
///          the channels, heads are dealt out. Norms and embeddings run on every GPU.
/// Differs: a factored layer that is split by input adds up at its rank, where fewer columns are;
///          its second product, like the first of one split by output, runs on every GPU. Tiles
///          of a factored layer are dealt out whole, and add up behind the second product.
///          Parts are rounded up: the GPU with most to do sets the time. One GPU: the list itself.
/// Errors: ConfigError for more GPUs than an attention or state update has heads.
std::vector<Operator> split_over_gpus(const std::vector<Operator>& operators, std::int64_t batch,
                                      std::int64_t num_gpus);

}  // namespace lowbank::pim
