#pragma once

#include <cstdint>
#include <span>

#include "pim/preset.h"

namespace lowbank::pim {

/// A constant of a rule of type Rule: its key in a preset, and what a GPU that was not measured has.
template <class Rule>
struct RuleConstant {
  const char* key;
  double Rule::*member;
  double usual;
  double most = 1e12;
};

/// Attention of a whole layer on one GPU: softmax(q K^T) V of every sequence and head.
struct AttentionShape {
  double batch = 1;
  double query_heads = 1;
  double kv_heads = 1;  ///< divides query_heads; the heads of a group read the same keys and values
  double head_dim = 0;
  double queries = 1;     ///< new tokens of each sequence
  double cached = 0;      ///< tokens before them
  double window = 0;      ///< most keys of a query; 0 = all
  bool is_causal = true;  ///< a query reads the keys up to its own; else all
  double element_bytes = 2;
  double kv_bytes = 2;       ///< of an element of keys and values
  bool writes_cache = true;  ///< new keys and values are copied into the cache
  bool rotates = false;      ///< queries and keys are rotated before, in the same time

  /// Keys that the queries of one sequence and head read, summed; the multiply-accumulates are
  /// 2 head_dim of them.
  double num_scores() const;
  /// Queries, results, keys and values, each once (keys and values once a group), and what
  /// writing the cache and rotating move.
  double moved_bytes() const;
};

/// Of a prompt: one kernel that keeps the scores on chip and leaves out what causality masks.
///
/// A block of 128 queries of a head goes over its keys, 128 at a time. All blocks share the cores;
/// the longest of them is waited for in part. Of a score, the exponential takes as long whatever
/// the head's width is. Bytes are not overlapped with the products.
///
/// Source:  FlashAttention-2's order of work (Dao, 2023); constants fitted as docs/estimate.md says.
struct PromptAttention {
  static constexpr double kBlockRows = 128;  ///< queries of a block, and keys of a step over them

  explicit PromptAttention(const SystemPreset& preset);
  double seconds(const AttentionShape& shape) const;
  static std::span<const RuleConstant<PromptAttention>> constants();

  double num_cores;
  double flops_per_s;  ///< peak
  double bytes_per_s;  ///< peak
  double launch_us = 0;
  double compute_scale = 0;   ///< of the peak
  double startup_keys = 0;    ///< a block takes as long as with so many more keys
  double score_ps = 0;        ///< of a core, for the exponential of a score
  double memory_frac = 0;     ///< of the peak
  double longest_frac = 0;    ///< of the longest block, waited for at the end
  double sustained_loss = 0;  ///< as GpuTimes has it
};

/// Of a decode step: one kernel that streams keys and values, the rows of a group together.
///
/// The work of a sequence and group is a task for a core. Few tasks are split over their keys, as
/// pays best, up to `most_splits`; groups of one head up to `most_splits_alone`.
///
/// Source:  Flash-Decoding (Dao et al., 2023); constants fitted as docs/estimate.md says.
struct DecodeAttention {
  explicit DecodeAttention(const SystemPreset& preset);
  double seconds(const AttentionShape& shape) const;
  static std::span<const RuleConstant<DecodeAttention>> constants();

  double num_cores;
  double flops_per_s;
  double bytes_per_s;
  double most_splits = 0;
  double most_splits_alone = 0;
  double launch_us = 0;
  double memory_frac = 0;
  double startup_us = 0;            ///< of a task
  double core_bandwidth_scale = 0;  ///< a core's loads, of its even share of bytes_per_s
  double split_us = 0;              ///< more for split keys
  double row_scale = 0;             ///< time of a group's products, of that at the peak
  double query_scale = 0;           ///< queries and results count as so many times their bytes
  double wave_frac = 0;             ///< what an incomplete wave lacks, in part; at most 1
};

/// The update of recurrent states in a decode step, and their reading: one kernel that reads and
/// writes every state once.
struct StateUpdateTimes {
  explicit StateUpdateTimes(const SystemPreset& preset);
  /// `num_states` matrices of rows x columns.
  double seconds(double num_states, double rows, double columns, double state_bytes) const;
  static std::span<const RuleConstant<StateUpdateTimes>> constants();

  double num_cores;
  double bytes_per_s;
  double launch_us = 0;
  double memory_frac = 0;
  double element_ps = 0;  ///< of a core, for an element of a state
};

/// Sums over the GPUs of a group.
///
/// Small messages go by a kernel that reads from every GPU (an engine's own), large ones by a ring
/// in chunks (NCCL). Engines change between the two at sizes from kDirectBytes to
/// `direct_most_bytes`; there the two times are mixed, by the logarithm of the size.
///
/// Source:  ring: a pipeline of chunks of the best size over 2 (GPUs - 1) steps, as in Thakur et
///          al. (2005); constants fitted as docs/estimate.md says.
struct AllReduceTimes {
  /// Every engine's own kernel takes messages up to this size.
  static constexpr double kDirectBytes = 1e6;

  /// `links`: the GPU's preset, or one of kind kLink.
  explicit AllReduceTimes(const SystemPreset& links);
  double seconds(double bytes, double num_gpus) const;
  double ring_s(double bytes, double num_gpus) const;
  double direct_s(double bytes, double num_gpus) const;
  /// What each GPU sends, and receives.
  static double sent_bytes(double bytes, double num_gpus) {
    return 2 * (num_gpus - 1) / num_gpus * bytes;
  }
  static std::span<const RuleConstant<AllReduceTimes>> ring_constants();
  static std::span<const RuleConstant<AllReduceTimes>> direct_constants();

  double bytes_per_s;  ///< peak, one direction
  double direct_most_bytes = 0;
  double ring_launch_us = 0;
  double ring_hop_us = 0;         ///< of two GPUs
  double ring_hop_exponent = 0;   ///< of GPUs / 2: how it grows
  double ring_frac = 0;           ///< of bytes_per_s, of two GPUs
  double ring_frac_exponent = 0;  ///< of GPUs / 2 (up to 8): switches that add up need less
  double direct_launch_us = 0;
  double direct_hop_us = 0;  ///< for each further GPU
  double direct_frac = 0;
  double direct_frac_exponent = 0;
};

}  // namespace lowbank::pim
