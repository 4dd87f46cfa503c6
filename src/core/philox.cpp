#include "core/philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace lowbank {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53u;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57u;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9u;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85u;

// splitmix64's finaliser: spreads nearby seeds and names over all 64 bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// 24 bits, centred in their cell: never 0, never 1.
float to_uniform(std::uint32_t word) {
  return (static_cast<float>(word >> 8) + 0.5f) * 0x1.0p-24f;
}

std::array<float, 4> normal_block(const RandomKey& key, std::uint64_t block) {
  const auto words = key.block(block);
  std::array<float, 4> out{};
  for (std::size_t pair = 0; pair < 2; ++pair) {
    const float radius = std::sqrt(-2.0f * std::log(to_uniform(words[2 * pair])));
    const float angle = 2.0f * std::numbers::pi_v<float> * to_uniform(words[2 * pair + 1]);
    out[2 * pair] = radius * std::cos(angle);
    out[2 * pair + 1] = radius * std::sin(angle);
  }
  return out;
}

std::array<float, 4> uniform_block(const RandomKey& key, std::uint64_t block) {
  const auto words = key.block(block);
  return {to_uniform(words[0]), to_uniform(words[1]), to_uniform(words[2]), to_uniform(words[3])};
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
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
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

std::array<std::uint32_t, 4> RandomKey::block(std::uint64_t block) const {
  return philox4x32({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                     static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                    {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
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
