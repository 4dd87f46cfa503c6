#pragma once

#include <string>

namespace lowbank {

class JsonReader;

/// The elementwise functions that models use; several names of transformers' ACT2FN mean the same.
enum class ActivationKind { kGelu, kGeluTanh, kRelu, kSilu, kTanh };

/// Reads the name of an activation. Errors: ConfigError for one that is not known, naming the key.
ActivationKind read_activation(const JsonReader& config, const char* key,
                               const std::string& otherwise);

}  // namespace lowbank
