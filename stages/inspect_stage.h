#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "config/run_stage.h"
#include "config/stages/inspect_config.h"
#include "io/layer_record.h"
#include "io/tensor_archive.h"

namespace lowbank {

/// One linear layer as its tensors show it.
struct LinearSummary {
  std::string path;  ///< "model.layers.0.self_attn.q_proj"
  std::string kind;  ///< "dense", "svd"; a stack of layers from the innermost on: "svd+mask"
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::int64_t rank = 0;  ///< min(out, in) for a dense layer
  std::int64_t num_params = 0;
  std::int64_t size_bytes = 0;
};

/// The linear layers among the tensors of a checkpoint, in the order of the names (numbers by
/// value): `<path>.u`, `.s`, `.vh` of a factored one, a `<path>.weight` matrix that is no embedding
/// of a dense one; `<path>.bias` counts to its layer. Where lowbank.json names the layers of a path,
/// the kind is theirs and every tensor below the path counts; features and rank of a kind that has
/// other tensors than those are 0.
std::vector<LinearSummary> find_linears(std::span<const TensorEntry> tensors,
                                        std::span<const SlotRecord> slots = {});

/// The command `inspect`: metrics model_type, num_params, num_bytes, linears.
void inspect_stage(const InspectConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
