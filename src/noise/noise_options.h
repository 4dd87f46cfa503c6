#pragma once

#include "noise/cell_coding.h"

namespace lowbank {

/// How far a cell's level is off: a multiplicative level l reads l * (1 + sigma N(0, 1)), an
/// additive one l + sigma N(0, 1), sigma in spacings between levels.
enum class NoiseModel { kMultiplicative, kAdditive };

/// Cells that hold integer codes, and their noise (docs/noise.md).
struct NoiseOptions {
  NoiseModel model = NoiseModel::kMultiplicative;
  double sigma = 0.025;  ///< of one cell; >= 0
  CellEncoding encoding = CellEncoding::kTwosComplement;
  int weight_bits = 8;  ///< of a code; in [2, 8]
  int cell_bits = 2;    ///< of an MLC cell; in [1, 4], divides weight_bits
};

}  // namespace lowbank
