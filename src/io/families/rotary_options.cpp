#include "io/families/rotary_options.h"

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "io/families/config_rules.h"

namespace lowbank {

namespace {

// Where the two versions of transformers read different things, nobody knows what was meant.
void check_rotary_group(const JsonReader& config, const JsonReader& rope) {
  for (const auto& [key, member] : rope.members()) {
    if (member.value().is_object()) rope.refuse(key, "one setting for all layers");
  }
  if (rope.has("type") && rope.text("type", "") != rope.text("rope_type", rope.text("type", ""))) {
    rope.refuse("type", "that of rope_type");
  }
  const bool is_scaling = !config.group("rope_scaling").members().empty();
  if (is_scaling && rope.has("rope_theta")) {
    const double theta = config.positive("rope_theta", RotaryOptions().theta);
    if (rope.positive("rope_theta", theta) != theta) {
      rope.refuse("rope_theta",
                  fmt::format("{}, as transformers 4 reads it beside the group", theta));
    }
  }
}

}  // namespace

// Both versions take rope_scaling where both groups are there; an empty one counts as absent.
JsonReader rotary_group(const JsonReader& config) {
  const JsonReader scaling = config.group("rope_scaling");
  return scaling.members().empty() ? config.group("rope_parameters") : scaling;
}

const char* rotary_type_key(const JsonReader& rope) {
  return rope.has("rope_type") ? "rope_type" : "type";
}

RotaryOptions read_rotary_options(const JsonReader& config, std::int64_t max_positions) {
  RotaryOptions options;
  options.theta = config.positive("rope_theta", options.theta);
  const JsonReader rope = rotary_group(config);
  check_rotary_group(config, rope);
  options.theta = rope.positive("rope_theta", options.theta);
  for (const JsonReader& place : {config, rope}) {
    if (place.positive("partial_rotary_factor", 1.0) != 1.0) {
      place.refuse("partial_rotary_factor", "1");
    }
  }
  const char* const type_key = rotary_type_key(rope);
  const std::string type = rope.text(type_key, "default");
  if (type == "default") return options;
  const auto require = [&](const char* needed) {
    if (!rope.has(needed)) rope.refuse(needed, "a number > 0");
  };
  require("factor");
  options.factor = rope.positive("factor", 1.0);
  if (type == "linear") {
    options.kind = RotaryKind::kLinear;
  } else if (type == "dynamic") {
    options.kind = RotaryKind::kDynamic;
    if (options.factor < 1.0) rope.refuse("factor", "a number >= 1");
    options.original_max_positions = max_positions;
  } else if (type == "llama3") {
    options.kind = RotaryKind::kLlama3;
    for (const char* needed :
         {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
      require(needed);
    }
    options.low_freq_factor = rope.positive("low_freq_factor", 1.0);
    options.high_freq_factor = rope.positive("high_freq_factor", 1.0);
    options.original_max_positions =
        rope.integer("original_max_position_embeddings", 1, 1, kMaxModelPositions);
    if (options.high_freq_factor <= options.low_freq_factor) {
      rope.refuse("high_freq_factor", "more than low_freq_factor");
    }
  } else {
    rope.refuse(type_key, "default, linear, dynamic, llama3");
  }
  return options;
}

}  // namespace lowbank
