// Includes no LibTorch and is compiled with options of its own (CMakeLists.txt): vectorised, and
// without fused multiply-adds, so that every processor draws the same bits.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include "core/philox_block.h"
#include "kernels/normal_fill.h"

// The wider clones are chosen at run time; all of them round alike.
#if defined(__x86_64__) && defined(__GNUC__)
#define LOWBANK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LOWBANK_CLONES
#endif

namespace lowbank {
namespace {

constexpr std::size_t kBatchBlocks = 64;
constexpr std::size_t kBatch = 4 * kBatchBlocks;

// Natural logarithm of a normal number: m 2^e with m in [sqrt(1/2), sqrt(2)), and
// log m = 2 artanh((m - 1) / (m + 1)); the series' next term is below 1e-9.
inline float log_positive(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x) - 0x3F3504F3u;  // sqrt(1/2)
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
  const float m = std::bit_cast<float>((bits & 0x007FFFFFu) + 0x3F3504F3u);
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  const float series = t2 * (1.0f / 3 + t2 * (1.0f / 5 + t2 * (1.0f / 7 + t2 * (1.0f / 9))));
  return exponent * std::numbers::ln2_v<float> + 2.0f * (t + t * series);
}

struct SinCos {
  float sin, cos;
};

// Of 2 pi u for u in (0, 1): the nearest quarter turn is taken off exactly, Taylor's series on the
// rest, at most pi / 4, leaves less than 3e-8.
inline SinCos sincos_turns(float u) {
  const float quarters = 4.0f * u;
  const auto quadrant = static_cast<std::int32_t>(quarters + 0.5f);
  const float x = (quarters - static_cast<float>(quadrant)) * (std::numbers::pi_v<float> / 2);
  const float x2 = x * x;
  const float sin = x + x * x2 * (-1.0f / 6 + x2 * (1.0f / 120 + x2 * (-1.0f / 5040)));
  const float cos =
      1.0f + x2 * (-0.5f + x2 * (1.0f / 24 + x2 * (-1.0f / 720 + x2 * (1.0f / 40320))));
  const bool swap = (quadrant & 1) != 0;
  const float sine = swap ? cos : sin;
  const float cosine = swap ? sin : cos;
  return {(quadrant & 2) != 0 ? -sine : sine, ((quadrant + 1) & 2) != 0 ? -cosine : cosine};
}

// The normals of kBatchBlocks consecutive blocks.
LOWBANK_CLONES void draw_batch(float* out, std::uint64_t key, std::uint64_t stream,
                               std::uint64_t first_block) {
  std::uint32_t words[4][kBatchBlocks];
  for (std::size_t b = 0; b < kBatchBlocks; ++b) {
    const auto block = stream_block(key, stream, first_block + b);
    for (int w = 0; w < 4; ++w) words[w][b] = block.words[w];
  }
  for (std::size_t b = 0; b < kBatchBlocks; ++b) {
    for (std::size_t pair = 0; pair < 2; ++pair) {
      const float radius = std::sqrt(-2.0f * log_positive(uniform_from_word(words[2 * pair][b])));
      const auto [sin, cos] = sincos_turns(uniform_from_word(words[2 * pair + 1][b]));
      out[4 * b + 2 * pair] = radius * cos;
      out[4 * b + 2 * pair + 1] = radius * sin;
    }
  }
}

}  // namespace

void normal_fill(std::span<float> out, const RandomKey& key, std::uint64_t first_index) {
  float batch[kBatch];
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t index = first_index + done;
    const std::size_t skip = index % 4;
    const std::size_t take = std::min(kBatch - skip, out.size() - done);
    float* const target = take == kBatch ? out.data() + done : batch;
    draw_batch(target, key.key(), key.stream(), index / 4);
    if (target == batch) std::copy_n(batch + skip, take, out.data() + done);
    done += take;
  }
}

}  // namespace lowbank
