#pragma once

#include <cstdint>

namespace lowbank {

class JsonReader;

/// How a model stretches the positions it was trained on.
enum class RotaryKind {
  kDefault,
  kLinear,   ///< every frequency divided by `factor`
  kDynamic,  ///< beyond the trained length the base grows with the length (NTK)
  kLlama3    ///< long wavelengths divided by `factor`, short ones left, smooth between
};

/// How positions turn query and key vectors.
struct RotaryOptions {
  RotaryKind kind = RotaryKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;                ///< llama3
  double high_freq_factor = 4.0;               ///< llama3
  std::int64_t original_max_positions = 8192;  ///< llama3 and dynamic: trained length
};

/// The group of config.json that describes the scaling: rope_scaling (transformers 4) or else
/// rope_parameters (5); empty where there is neither.
JsonReader rotary_group(const JsonReader& config);

/// The key of `rope` that names the kind of scaling.
const char* rotary_type_key(const JsonReader& rope);

/// Reads rope_theta and rope_scaling (transformers 4) or rope_parameters (5) of a model trained on
/// `max_positions`. Errors: ConfigError for another kind than RotaryKind has, naming the key.
RotaryOptions read_rotary_options(const JsonReader& config, std::int64_t max_positions);

}  // namespace lowbank
