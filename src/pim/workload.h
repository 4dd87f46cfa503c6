#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lowbank::pim {

enum class Phase { kPrefill, kDecode };

/// "prefill" or "decode", as in workload.json.
std::string phase_name(Phase phase);

/// What an operator does; decides which device can run it and how.
enum class OperatorKind {
  kLinear,       ///< m tokens x weights [n, k]; weights read once
  kScore,        ///< q K^T: per sequence and head, m queries x n keys, k = head_dim
  kAttend,       ///< p V: per sequence and head, m queries x n = head_dim, k keys
  kSoftmax,      ///< m rows of n
  kNorm,         ///< m rows of n
  kActivation,   ///< m rows of n elementwise
  kEmbedding,    ///< m rows of n read from a table
  kConv,         ///< depthwise causal convolution: m tokens of n channels, k taps
  kScan,         ///< selective scan: m tokens of n channels, k states each; two multiply-adds a
                 ///< state: the update and the output
  kStateUpdate,  ///< per sequence and head, m tokens: S = decay S + k v^T and y = S^T q, of n
                 ///< channels and k states; two multiply-adds a state
  kAllReduce,    ///< m rows of n that all GPUs of a group add up; never in a file
  kAttention     ///< score, softmax and attend in one: m queries, n keys, k = head_dim; never in a
                 ///< file
};

inline bool keeps_state(OperatorKind kind) {
  return kind == OperatorKind::kScan || kind == OperatorKind::kStateUpdate;
}

/// One operator of a phase; `count` equal ones run one after the other (batch x heads for kScore,
/// kAttend, kSoftmax and kStateUpdate, where they run side by side in one kernel).
struct Operator {
  OperatorKind kind = OperatorKind::kLinear;
  std::string name;         ///< module path, "model.layers.0.self_attn.q_proj"
  std::int64_t layer = -1;  ///< decoder block, -1 outside of blocks
  std::string group;        ///< operators of a layer that may run side by side share it: "qkv"
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;  ///< 0 for operators without a contraction
  std::int64_t count = 1;
  std::int64_t queries_per_cache = 1;  ///< of kScore and kAttend: query heads that read the same
                                       ///< keys and values; divides `count`
  double weight_bytes = 0;             ///< of one operator, parameters read
  double activation_bytes = 0;         ///< of one operator, inputs and outputs (KV cache included)
  std::string weight_format;  ///< of kLinear: "" = the workload's; else weight_bytes are as read
  /// "" dense. "svd": this is one of the two products of a factored layer: `stage` 0 is in -> rank,
  /// 1 is rank -> out. "tile_svd": so is each `tile` x `tile` of it, and all of a stage run side by
  /// side: 0 is in / tile products tile -> out / tile x rank, 1 is out / tile products
  /// in / tile x rank -> tile.
  std::string factored_as;
  std::int64_t stage = 0;
  std::int64_t rank = 0;
  std::int64_t tile = 0;  ///< only of "tile_svd"

  /// Of the layer, if this is its first or only product.
  std::int64_t in_features() const { return tile > 0 ? k * count : k; }
  /// Of the layer, if this is its last or only product.
  std::int64_t out_features() const { return tile > 0 ? n * count : n; }
  std::int64_t macs() const {
    return m * n * (k > 0 ? k : 0) * count * (keeps_state(kind) ? 2 : 1);
  }
};

/// The operators of a model for one context and batch: all the estimator sees of a model.
struct Workload {
  static constexpr std::int64_t kRevision = 2;
  std::string model;         ///< name for tables
  std::int64_t batch = 1;    ///< sequences
  std::int64_t context = 0;  ///< prompt tokens; a decode step reads this many cached tokens
  std::int64_t num_params = 0;
  std::int64_t num_layers = 0;
  double weight_bits = 32;        ///< of a stored parameter
  std::vector<Operator> prefill;  ///< empty if not exported
  std::vector<Operator> decode;   ///< of one token

  const std::vector<Operator>& operators(Phase phase) const {
    return phase == Phase::kPrefill ? prefill : decode;
  }
  /// Whether a token attends to those before it only, as language models do; an encoder's prompt,
  /// which no decode step follows, is told by the names of its layers.
  bool is_causal() const;
  /// Tokens that one run of the phase takes in: prompts, or one per sequence.
  std::int64_t tokens(Phase phase) const {
    return phase == Phase::kPrefill ? batch * context : batch;
  }
};

/// Largest m, n, k, count, batch or context that is taken for a real size.
inline constexpr std::int64_t kMaxDimension = std::int64_t{1} << 40;

/// Largest number of generated tokens: each of them is priced, which takes some microseconds.
inline constexpr std::int64_t kMaxOutputTokens = std::int64_t{1} << 20;

/// Errors: IoError for a missing or corrupt file (naming operator and key); ConfigError for a newer
/// revision, an unknown key or absurd shapes (negative, products beyond 2^63).
Workload read_workload(const std::string& path);
/// read_workload over a text; `source` names it in errors.
Workload workload_from_json(const std::string& text, const std::string& source);
std::string workload_to_json(const Workload& workload);

}  // namespace lowbank::pim
