#pragma once

#include <cstdint>
#include <string>

#include "config/field.h"

namespace lowbank {

/// Cells that hold int8 factors, and their noise (docs/noise.md).
struct NoiseConfig {
  std::string model = "multiplicative";      ///< multiplicative | additive
  double sigma = 0.025;                      ///< noise of one cell: relative, or in level spacings
  std::string encoding = "twos_complement";  ///< how a code becomes cell levels
  std::int64_t weight_bits = 8;              ///< bits of a code; in [2, 8]
  std::int64_t cell_bits = 2;                ///< bits of an MLC cell; in [1, 4]
  Fields fields() const;
  void validate() const;
};

}  // namespace lowbank
