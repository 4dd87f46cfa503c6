#include "core/philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "core/philox_block.h"

namespace lowbank {
namespace {

// splitmix64's finaliser: spreads nearby seeds and names over all 64 bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

std::array<float, 4> normal_block(const RandomKey& key, std::uint64_t block) {
  const auto words = key.block(block);
  std::array<float, 4> out{};
  for (std::size_t pair = 0; pair < 2; ++pair) {
    const float radius = std::sqrt(-2.0f * std::log(uniform_from_word(words[2 * pair])));
    const float angle = 2.0f * std::numbers::pi_v<float> * uniform_from_word(words[2 * pair + 1]);
    out[2 * pair] = radius * std::cos(angle);
    out[2 * pair + 1] = radius * std::sin(angle);
  }
  return out;
}

std::array<float, 4> uniform_block(const RandomKey& key, std::uint64_t block) {
  const auto words = key.block(block);
  return {uniform_from_word(words[0]), uniform_from_word(words[1]), uniform_from_word(words[2]),
          uniform_from_word(words[3])};
}

template <class Block>
void fill(std::span<float> out, const RandomKey& key, std::uint64_t first_index, Block block) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t index = first_index + done;
    const auto values = block(key, index / 4);
    const std::size_t skip = index % 4;
    const std::size_t take = std::min<std::size_t>(4 - skip, out.size() - done);
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(skip), take,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += take;
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  const auto out = philox_block({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {out.words[0], out.words[1], out.words[2], out.words[3]};
}

RandomKey::RandomKey(std::uint64_t seed) : key_(mix(seed)), stream_(0) {}

RandomKey RandomKey::derive(std::string_view name) const {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a, then mixed with the path so far
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  }
  return {key_, mix(stream_ ^ mix(hash))};
}

RandomKey RandomKey::derive(std::uint64_t index) const {
  // The constant keeps derive(7) apart from any derive("...").
  return {key_, mix(stream_ + mix(index ^ 0xA5A5A5A55A5A5A5Au))};
}

std::array<std::uint32_t, 4> RandomKey::block(std::uint64_t index) const {
  const auto out = stream_block(key_, stream_, index);
  return {out.words[0], out.words[1], out.words[2], out.words[3]};
}

std::uint64_t RandomKey::below(std::uint64_t bound, std::uint64_t index) const {
  // Multiply-shift on 64 random bits: the bias for bounds up to 2^32 is below 2^-32.
  const auto words = block(index);
  const std::uint64_t bits = (std::uint64_t{words[0]} << 32) | words[1];
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * bound) >> 64);
}

void fill_uniform(std::span<float> out, const RandomKey& key, std::uint64_t first_index) {
  fill(out, key, first_index, uniform_block);
}

void fill_normal(std::span<float> out, const RandomKey& key, std::uint64_t first_index) {
  fill(out, key, first_index, normal_block);
}

void fill_permutation(std::span<std::int64_t> out, const RandomKey& key) {
  std::iota(out.begin(), out.end(), std::int64_t{0});
  for (std::size_t i = out.size(); i > 1; --i) {
    std::swap(out[i - 1], out[static_cast<std::size_t>(key.below(i, i))]);
  }
}

}  // namespace lowbank
