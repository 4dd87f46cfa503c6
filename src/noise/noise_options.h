#pragma once

#include "noise/cell_coding.h"

namespace lowbank {

/// The error of a cell's level l: with multiplicative noise the cell reads l * (1 + sigma N(0, 1)),
/// with additive noise l + sigma N(0, 1), where sigma is in spacings between levels.
enum class NoiseModel { kMultiplicative, kAdditive };

/// Cells that hold integer codes, and their noise (docs/noise.md).
struct NoiseOptions {
  NoiseModel model = NoiseModel::kMultiplicative;
  double sigma = 0.025;  ///< noise of one cell, as NoiseModel says; >= 0
  CellEncoding encoding = CellEncoding::kTwosComplement;
  int weight_bits = 8;  ///< bits of a code; in [2, 8]
  int cell_bits = 2;    ///< bits of an MLC cell; in [1, 4], divides weight_bits
};

}  // namespace lowbank
