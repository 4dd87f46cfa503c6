#pragma once

#include <cstdint>
#include <string_view>

namespace lowbank {

class JsonReader;

/// Largest size that a config.json may ask for.
inline constexpr std::int64_t kMaxModelSize = std::int64_t{1} << 24;
/// Most layers: each takes memory for its names before a file is looked at.
inline constexpr std::int64_t kMaxModelLayers = 1024;
/// Most positions.
inline constexpr std::int64_t kMaxModelPositions = std::int64_t{1} << 31;

// Rules that the families have in common. Errors: ConfigError naming the key.

/// A whole number in [1, kMaxModelSize].
std::int64_t read_size(const JsonReader& config, std::string_view key, std::int64_t otherwise);
/// `num_hidden_layers`, in [1, kMaxModelLayers].
std::int64_t read_num_layers(const JsonReader& config, std::int64_t otherwise);
/// Refuses another model_type, and weights that are quantised in a way of their own.
void check_model_type(const JsonReader& config, std::string_view model_type);
/// Refuses another class than this one; a config.json need not name one.
void check_architecture(const JsonReader& config, std::string_view architecture);
/// Refuses another activation than silu.
void check_silu(const JsonReader& config);

}  // namespace lowbank
