// Recipes and the settings of every stage.
#include <nlohmann/json.hpp>

#include "config/make_stage_config.h"
#include "core/error.h"
#include "core/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lowbank;
  try {
    const auto recipe = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz", true);
    for (const auto& stage : stage_names()) {
      try {
        const auto config = make_stage_config(stage);
        apply_json(*config, recipe, "fuzz");
        config->validate();
        to_json(config->fields()).dump(-1, ' ', true);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
