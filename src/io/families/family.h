#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "io/families/gguf_mapping.h"
#include "io/families/parameter_list.h"

namespace lowbank {

/// What this room knows of one model family. Each family's file makes its own; families.cpp lists
/// them.
struct ModelFamily {
  std::string_view model_type;  ///< as config.json names it
  /// What a file must hold for this config.json. `has` says what the file at hand holds, for
  /// families whose names depend on it. Errors: ConfigError as the family's reader.
  ParameterList (*parameters)(const nlohmann::ordered_json& config, const std::string& source,
                              const HasParameter& has) = nullptr;
  GgufMapping gguf = {};  ///< left out by a family that no GGUF file holds
};

}  // namespace lowbank
