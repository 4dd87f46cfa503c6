// Includes no LibTorch and is compiled with options of its own (CMakeLists.txt), as
// normal_span.cpp.
#include "kernels/cpu/dropout_span.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/philox_block.h"

// The wider clones are chosen at run time; all of them round alike.
#if defined(__x86_64__) && defined(__GNUC__)
#define LOWBANK_DROPOUT_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define LOWBANK_DROPOUT_CLONES
#endif

namespace lowbank {
namespace {

constexpr std::size_t kDropoutBlocks = 64;
constexpr std::size_t kDropoutBatch =
    8 * kDropoutBlocks;  // elements: 16 of a block's 128 bits each

inline float scaled(float x, float scale) { return x * scale; }

inline std::uint16_t scaled(std::uint16_t x, float scale) {
  const auto bits = std::bit_cast<std::uint32_t>(
      std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16) * scale);
  // To the nearest, ties to even; what is no number stays so.
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

// Elements [8 first_block, 8 first_block + kDropoutBatch). Element i of a batch has the low half of
// word w of block b for i = (2 w) kDropoutBlocks + b, and the high half for the next run of blocks:
// any fixed order will do, and this one needs no shuffles.
template <class T>
inline __attribute__((always_inline)) void drop_batch(T* out, const T* x, std::uint64_t first_block,
                                                      const DropoutRule& rule) {
  const std::uint32_t threshold = rule.threshold;
  const float scale = rule.scale;
  std::uint32_t words[4][kDropoutBlocks];
  for (std::size_t b = 0; b < kDropoutBlocks; ++b) {
    const auto block = stream_block(rule.key, rule.stream, first_block + b);
    for (int w = 0; w < 4; ++w) words[w][b] = block.words[w];
  }
  for (std::size_t w = 0; w < 4; ++w) {
    for (std::size_t b = 0; b < kDropoutBlocks; ++b) {
      const std::size_t low = 2 * w * kDropoutBlocks + b, high = low + kDropoutBlocks;
      out[low] = (words[w][b] & 0xFFFFu) < threshold ? T{0} : scaled(x[low], scale);
      out[high] = (words[w][b] >> 16) < threshold ? T{0} : scaled(x[high], scale);
    }
  }
}

LOWBANK_DROPOUT_CLONES void drop_floats(float* __restrict out, const float* __restrict x,
                                        std::uint64_t first_block, const DropoutRule& rule) {
  drop_batch(out, x, first_block, rule);
}

LOWBANK_DROPOUT_CLONES void drop_halves(std::uint16_t* __restrict out,
                                        const std::uint16_t* __restrict x,
                                        std::uint64_t first_block, const DropoutRule& rule) {
  drop_batch(out, x, first_block, rule);
}

template <class T, class DropBatch>
void drop_span(T* out, const T* x, std::int64_t size, std::uint64_t first_index,
               const DropoutRule& rule, DropBatch drop) {
  T in_batch[kDropoutBatch] = {}, out_batch[kDropoutBatch];
  std::size_t done = 0;
  const auto wanted = static_cast<std::size_t>(size);
  while (done < wanted) {
    const std::uint64_t index = first_index + done;
    const std::size_t skip = index % kDropoutBatch;
    const std::size_t take = std::min(kDropoutBatch - skip, wanted - done);
    const std::uint64_t first_block = index / kDropoutBatch * kDropoutBlocks;
    if (take == kDropoutBatch) {
      drop(out + done, x + done, first_block, rule);
    } else {
      std::copy_n(x + done, take, in_batch + skip);
      drop(out_batch, in_batch, first_block, rule);
      std::copy_n(out_batch + skip, take, out + done);
    }
    done += take;
  }
}

}  // namespace

void dropout_span(float* out, const float* x, std::int64_t size, std::uint64_t first_index,
                  const DropoutRule& rule) {
  drop_span(out, x, size, first_index, rule, drop_floats);
}

void dropout_span(std::uint16_t* out, const std::uint16_t* x, std::int64_t size,
                  std::uint64_t first_index, const DropoutRule& rule) {
  drop_span(out, x, size, first_index, rule, drop_halves);
}

}  // namespace lowbank
