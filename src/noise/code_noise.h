#pragma once

#include <torch/types.h>

#include "core/philox.h"
#include "noise/cell_coding.h"
#include "noise/noise_options.h"

namespace lowbank {

/// Weights as integers: w = scale * code.
struct QuantisedFactor {
  torch::Tensor codes;  ///< int8, on the CPU
  float scale = 1;
};

/// Symmetric quantisation with one scale for the whole tensor, from its largest |w|.
///
/// Source:  HyFlexPIM's simulator quantises each factor to int8.
/// Differs: the reference clips at the second largest signed value, so the negative tail is cut.
QuantisedFactor quantise_factor(const torch::Tensor& weight, int weight_bits);

/// Variance of the noise of one weight for each code, in code units squared.
CodeTable<double> code_noise_variance(const CellCoding& coding, const NoiseOptions& noise);

/// Draws the noise of each weight, in code units, as float32 on the CPU with the shape of `codes`:
/// the sum over the slices of place_value * noise of the level. Cell i of slice j takes element i
/// of `key.derive(j)`, so the result depends neither on threads nor on other draws.
///
/// Source:  HyFlexPIM's simulator (multiplicative).
torch::Tensor draw_code_noise(const torch::Tensor& codes, const CellCoding& coding,
                              const NoiseOptions& noise, const RandomKey& key);

}  // namespace lowbank
