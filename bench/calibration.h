#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <c10/core/ScalarType.h>

#include "config/run_stage.h"

namespace lowbank {

/// The shapes that a calibration measures.
struct CalibrationGrid {
  struct Weight {
    std::int64_t out, in;
  };
  struct Attention {
    std::int64_t batch, heads, key_heads, tokens, head_dim;
    bool is_causal;
  };
  std::vector<std::int64_t> few_rows = {1, 2, 4, 8};
  std::vector<std::int64_t> rows = {16, 64, 128, 256, 512, 1024};
  std::vector<Weight> weights;
  std::vector<Attention> prompts;
  std::vector<Attention> caches;          ///< decode steps with `tokens` in the cache
  std::vector<std::int64_t> elementwise;  ///< numbers of rows of norms and activations
  std::vector<std::int64_t> scan_tokens;  ///< tokens of one sequence; 1 is a decode step
  std::vector<std::int64_t> features;     ///< of norms, activations, convolutions and scans
  std::int64_t streamed_bytes = 0;        ///< buffer of operands; at least four times the cache
  std::vector<std::string> models;        ///< names of published shapes
  std::int64_t model_tokens = 512;        ///< tokens of a model's prompt
};

/// Shapes of real models; a round takes some seconds.
CalibrationGrid full_grid();

struct CalibrationOptions {
  std::string output;  ///< the preset to write, .json
  std::string model;   ///< checkpoint to compare with; empty: the grid's published shapes
  std::int64_t runs = 5;
  c10::ScalarType type = c10::kFloat;  ///< of the computation
};

/// `lowbank bench --calibrate FILE` (docs/bench.md): times single kernels and whole models in the
/// same rounds, fits a CPU preset to the kernels, writes it and compares it with the models.
/// Errors: IoError for the file.
void calibrate(const CalibrationOptions& options, const CalibrationGrid& grid, Metrics& metrics);

}  // namespace lowbank
