#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "pim/workload.h"

namespace lowbank::pim::testing {

/// Folder of the reference figures, "" if this machine has none.
inline std::string pim_reference_folder() {
  const char* const home = std::getenv("LOWBANK_SHARED_DATA");
  const std::string folder =
      (home != nullptr ? std::string(home) : std::string(LOWBANK_SOURCE_DIR) + "/../shared/data") +
      "/pim";
  return std::filesystem::exists(folder) ? folder : "";
}

inline Operator linear(std::string name, std::int64_t layer, std::string group, std::int64_t m,
                       std::int64_t out, std::int64_t in) {
  Operator op;
  op.kind = OperatorKind::kLinear;
  op.name = std::move(name);
  op.layer = layer;
  op.group = std::move(group);
  op.m = m;
  op.n = out;
  op.k = in;
  op.weight_bytes = 4.0 * static_cast<double>(out * in);
  op.activation_bytes = 4.0 * static_cast<double>(m * (out + in));
  return op;
}

inline Operator other(OperatorKind kind, std::string name, std::int64_t layer, std::int64_t m,
                      std::int64_t n, std::int64_t k = 0, std::int64_t count = 1) {
  Operator op;
  op.kind = kind;
  op.name = std::move(name);
  op.layer = layer;
  op.m = m;
  op.n = n;
  op.k = k;
  op.count = count;
  return op;
}

/// Llama-shaped operators; rank 0 = dense linears, else every block's linears factored at it.
struct SampleShape {
  std::int64_t num_layers = 2;
  std::int64_t hidden = 64;
  std::int64_t feed_forward = 172;
  std::int64_t heads = 8;
  std::int64_t vocabulary = 512;
  std::int64_t batch = 1;
  std::int64_t context = 32;
  std::int64_t rank = 0;
};

inline void add_projection(std::vector<Operator>& operators, const SampleShape& s,
                           const std::string& name, std::int64_t layer, const std::string& group,
                           std::int64_t m, std::int64_t out, std::int64_t in) {
  if (s.rank == 0) {
    operators.push_back(linear(name, layer, group, m, out, in));
    return;
  }
  for (std::int64_t stage = 0; stage < 2; ++stage) {
    Operator op = stage == 0 ? linear(name, layer, group, m, s.rank, in)
                             : linear(name, layer, group, m, out, s.rank);
    op.factored_as = "svd";
    op.stage = stage;
    op.rank = s.rank;
    operators.push_back(op);
  }
}

inline std::vector<Operator> sample_operators(const SampleShape& s, Phase phase) {
  const std::int64_t queries = phase == Phase::kPrefill ? s.context : 1;
  const std::int64_t m = s.batch * queries;
  const std::int64_t head_dim = s.hidden / s.heads;
  const std::int64_t streams = s.batch * s.heads;
  std::vector<Operator> ops;
  ops.push_back(other(OperatorKind::kEmbedding, "model.embed_tokens", -1, m, s.hidden));
  for (std::int64_t layer = 0; layer < s.num_layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    ops.push_back(other(OperatorKind::kNorm, block + "input_layernorm", layer, m, s.hidden));
    for (const char* const name : {"q_proj", "k_proj", "v_proj"}) {
      add_projection(ops, s, block + "self_attn." + name, layer, "qkv", m, s.hidden, s.hidden);
    }
    ops.push_back(
        other(OperatorKind::kScore, block + "score", layer, queries, s.context, head_dim, streams));
    ops.push_back(
        other(OperatorKind::kSoftmax, block + "softmax", layer, queries, s.context, 0, streams));
    ops.push_back(other(OperatorKind::kAttend, block + "attend", layer, queries, head_dim,
                        s.context, streams));
    add_projection(ops, s, block + "self_attn.o_proj", layer, "", m, s.hidden, s.hidden);
    ops.push_back(
        other(OperatorKind::kNorm, block + "post_attention_layernorm", layer, m, s.hidden));
    for (const char* const name : {"gate_proj", "up_proj"}) {
      add_projection(ops, s, block + "mlp." + name, layer, "gate_up", m, s.feed_forward, s.hidden);
    }
    ops.push_back(other(OperatorKind::kActivation, block + "act", layer, m, s.feed_forward));
    add_projection(ops, s, block + "mlp.down_proj", layer, "", m, s.hidden, s.feed_forward);
  }
  ops.push_back(other(OperatorKind::kNorm, "model.norm", -1, s.batch, s.hidden));
  ops.push_back(linear("lm_head", -1, "", s.batch, s.vocabulary, s.hidden));
  return ops;
}

inline Workload sample_workload(const SampleShape& s = {}) {
  Workload workload;
  workload.model = "sample";
  workload.batch = s.batch;
  workload.context = s.context;
  workload.num_params = 1000;
  workload.num_layers = s.num_layers;
  workload.prefill = sample_operators(s, Phase::kPrefill);
  workload.decode = sample_operators(s, Phase::kDecode);
  return workload;
}

/// A layer of in x out in tiles of their own rank.
struct TiledShape {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t tile = 0;
  std::int64_t rank = 0;
};

/// A decode step of one such layer.
inline Workload tiled_workload(const TiledShape& s) {
  Workload workload;
  workload.model = "tiled";
  workload.context = 8;
  Operator first = linear("layer", -1, "", 1, s.out / s.tile * s.rank, s.tile);
  first.count = s.in / s.tile;
  Operator second = linear("layer", -1, "", 1, s.tile, s.in / s.tile * s.rank);
  second.count = s.out / s.tile;
  second.stage = 1;
  workload.decode = {first, second};
  for (Operator& op : workload.decode) {
    op.factored_as = "tile_svd";
    op.rank = s.rank;
    op.tile = s.tile;
  }
  return workload;
}

}  // namespace lowbank::pim::testing
