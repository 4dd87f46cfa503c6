#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace lowbank::tokenizers {

/// A fast hash of short texts for tables in memory; its values mean nothing outside the process.
inline std::uint64_t hash_text(std::string_view text) {
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  const auto mix = [](std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * kFactor;
    return hash ^ hash >> 32;
  };
  std::uint64_t hash = text.size();
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    hash = mix(hash, word);
  }
  std::uint64_t word = 0;
  std::memcpy(&word, at, left);
  hash = mix(hash, word);
  return mix(hash, hash >> 29);
}

}  // namespace lowbank::tokenizers
