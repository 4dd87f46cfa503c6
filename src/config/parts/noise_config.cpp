#include "config/parts/noise_config.h"

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

Fields NoiseConfig::fields() const {
  return {Field("model", &model, "noise of a cell's value").one_of({"multiplicative", "additive"}),
          Field("sigma", &sigma, "standard deviation: relative, or in level spacings (additive)")
              .at_least(0)
              .at_most(1000),
          Field("encoding", &encoding, "how an integer code becomes cell levels")
              .one_of({"twos_complement", "sign_magnitude", "differential", "offset_binary"}),
          Field("weight_bits", &weight_bits, "bits of a code").at_least(2).at_most(8),
          Field("cell_bits", &cell_bits, "bits of an MLC cell").at_least(1).at_most(4)};
}

void NoiseConfig::validate() const {
  if (weight_bits % cell_bits != 0) {
    throw ConfigError(fmt::format("noise.cell_bits: must divide noise.weight_bits ({}); got {}",
                                  weight_bits, cell_bits));
  }
}

}  // namespace lowbank
