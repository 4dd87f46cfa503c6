#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace lowbank {

/// One block of the Philox 4x32-10 counter-based generator.
///
/// Source:  Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
/// Differs: none (checked against the known answers published with Random123).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// Names one stream of random numbers; element i of a stream is a pure function of (key, i).
///
/// A key is made from the run's seed and derived by names and indices ("noise", trial, layer, ...),
/// so draws do not depend on thread count, order of calls, or what else was drawn.
class RandomKey {
 public:
  explicit RandomKey(std::uint64_t seed);
  RandomKey derive(std::string_view name) const;
  RandomKey derive(std::uint64_t index) const;

  /// Four 32-bit words: block `index` of this stream.
  std::array<std::uint32_t, 4> block(std::uint64_t index) const;
  /// Element `index` of the stream as an integer in [0, bound); bound in [1, 2^32].
  std::uint64_t below(std::uint64_t bound, std::uint64_t index) const;

  std::uint64_t stream() const { return stream_; }
  std::uint64_t key() const { return key_; }

 private:
  RandomKey(std::uint64_t key, std::uint64_t stream) : key_(key), stream_(stream) {}
  std::uint64_t key_;     // Philox key: the seed
  std::uint64_t stream_;  // high half of the Philox counter: hash of the derivation path
};

/// out[i] = element first_index + i of the key's uniform stream, in (0, 1), 23 random bits.
void fill_uniform(std::span<float> out, const RandomKey& key, std::uint64_t first_index = 0);

/// out[i] = element first_index + i of the key's standard normal stream (Box-Muller).
/// The element does not depend on how the stream is cut into spans.
void fill_normal(std::span<float> out, const RandomKey& key, std::uint64_t first_index = 0);

/// A permutation of 0..n-1 drawn from the key (Fisher-Yates).
void fill_permutation(std::span<std::int64_t> out, const RandomKey& key);

}  // namespace lowbank
