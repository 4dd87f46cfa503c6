// Normal numbers of one instruction set (see pack.h). Compiled without fused multiply-adds, alone
// of the loops, so that every processor draws the same bits.
#include "core/philox_block.h"
#include "kernels/cpu/cpu_kernels.h"

namespace lowbank::LOWBANK_ISA {
namespace {

constexpr std::int64_t kBatchBlocks = 64;
constexpr std::int64_t kBatch = 4 * kBatchBlocks;

// Natural logarithm of a normal number: m 2^e with m in [sqrt(1/2), sqrt(2)), and
// log m = 2 artanh((m - 1) / (m + 1)); the series' next term is below 1e-9.
inline float log_positive(float x) {
  constexpr float kLn2 = 0.693147180559945309417f;
  const auto bits = __builtin_bit_cast(std::uint32_t, x) - 0x3F3504F3u;  // sqrt(1/2)
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
  const float m = __builtin_bit_cast(float, (bits & 0x007FFFFFu) + 0x3F3504F3u);
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  const float series = t2 * (1.0f / 3 + t2 * (1.0f / 5 + t2 * (1.0f / 7 + t2 * (1.0f / 9))));
  return exponent * kLn2 + 2.0f * (t + t * series);
}

struct SinCos {
  float sin, cos;
};

// Sine and cosine of 2 pi u for u in (0, 1). The nearest quarter turn is subtracted exactly; on the
// rest, which is at most pi / 4, Taylor's series has an error below 3e-8.
inline SinCos sincos_turns(float u) {
  constexpr float kPi = 3.14159265358979323846f;
  const float quarters = 4.0f * u;
  const float next = quarters + 0.5f;
  const auto quadrant = static_cast<std::int32_t>(next);  // u is not negative: this rounds
  const float x = (quarters - static_cast<float>(quadrant)) * (kPi / 2);
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
void draw_batch(float* out, std::uint64_t key, std::uint64_t stream, std::uint64_t first_block) {
  std::uint32_t words[4][kBatchBlocks];
  for (std::int64_t b = 0; b < kBatchBlocks; ++b) {
    const auto block = stream_block(key, stream, first_block + static_cast<std::uint64_t>(b));
    for (int w = 0; w < 4; ++w) words[w][b] = block.words[w];
  }
  for (std::int64_t b = 0; b < kBatchBlocks; ++b) {
    for (std::int64_t pair = 0; pair < 2; ++pair) {
      const float radius =
          __builtin_sqrtf(-2.0f * log_positive(uniform_from_word(words[2 * pair][b])));
      const auto [sin, cos] = sincos_turns(uniform_from_word(words[2 * pair + 1][b]));
      out[4 * b + 2 * pair] = radius * cos;
      out[4 * b + 2 * pair + 1] = radius * sin;
    }
  }
}

}  // namespace

void draw_normals(float* out, std::int64_t size, std::uint64_t key, std::uint64_t stream,
                  std::uint64_t first_index) {
  float batch[kBatch];
  for (std::int64_t done = 0; done < size;) {
    const std::uint64_t index = first_index + static_cast<std::uint64_t>(done);
    const auto skip = static_cast<std::int64_t>(index % 4);
    const std::int64_t take = kBatch - skip < size - done ? kBatch - skip : size - done;
    float* const target = take == kBatch ? out + done : batch;
    draw_batch(target, key, stream, index / 4);
    if (target == batch) {
      __builtin_memcpy(out + done, batch + skip, static_cast<std::size_t>(take) * sizeof(float));
    }
    done += take;
  }
}

}  // namespace lowbank::LOWBANK_ISA
