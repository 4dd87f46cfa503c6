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

/// The linear layers among the tensors of a checkpoint, in the order of their names (numbers by
/// value). A factored layer has `<path>.u`, `.s` and `.vh`; a dense layer has a matrix
/// `<path>.weight` that is not an embedding; `<path>.bias` belongs to its layer. Where lowbank.json
/// names the layers of a path, they give the kind, and every tensor below the path belongs to the
/// layer; its features and rank are 0 if it has none of the tensors above.
std::vector<LinearSummary> find_linears(std::span<const TensorEntry> tensors,
                                        std::span<const SlotRecord> slots = {});

/// `lowbank inspect` (docs/inspect.md). Metrics: model_type, num_params, num_bytes, linears.
void inspect_stage(const InspectConfig& config, RunDir* out, Metrics& metrics);

}  // namespace lowbank
