// Dropout, for every instruction set (see pack.h). All sets round alike, since each value is
// multiplied only once.
#pragma once

#include "core/philox_block.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/pack.h"

namespace lowbank::LOWBANK_ISA {
namespace {

constexpr std::int64_t kDropoutBlocks = 64;
constexpr std::int64_t kDropoutBatch = 8 * kDropoutBlocks;  // elements: 16 of a block's bits each

// Elements [8 first_block, 8 first_block + kDropoutBatch). Element i of a batch has the low half of
// word w of block b for i = (2 w) kDropoutBlocks + b, and the high half for the next run of blocks:
// any fixed order will do, and this one needs no shuffles.
template <class T>
inline void drop_batch(T* out, const T* x, std::uint64_t first_block, const DropoutRule& rule) {
  std::uint32_t words[4][kDropoutBlocks];
  for (std::int64_t b = 0; b < kDropoutBlocks; ++b) {
    const auto block =
        stream_block(rule.key, rule.stream, first_block + static_cast<std::uint64_t>(b));
    for (int w = 0; w < 4; ++w) words[w][b] = block.words[w];
  }
  for (std::int64_t w = 0; w < 4; ++w) {
    for (std::int64_t b = 0; b < kDropoutBlocks; b += kLanes) {
      const std::int64_t low = 2 * w * kDropoutBlocks + b, high = low + kDropoutBlocks;
      WordPack bits;
      std::memcpy(&bits, words[w] + b, sizeof(bits));
      store(out + low, (bits & 0xFFFFu) < rule.threshold ? Pack{} : load(x + low) * rule.scale);
      store(out + high, (bits >> 16) < rule.threshold ? Pack{} : load(x + high) * rule.scale);
    }
  }
}

template <class T>
void dropout(void* out_data, const void* x_data, std::int64_t size, std::uint64_t first_index,
             const DropoutRule& rule) {
  auto* const out = static_cast<T*>(out_data);
  const auto* const x = static_cast<const T*>(x_data);
  T in_batch[kDropoutBatch] = {}, out_batch[kDropoutBatch];
  for (std::int64_t done = 0; done < size;) {
    const std::uint64_t index = first_index + static_cast<std::uint64_t>(done);
    const std::uint64_t first_block = index / kDropoutBatch * kDropoutBlocks;
    const auto skip = static_cast<std::int64_t>(index % kDropoutBatch);
    const std::int64_t take =
        kDropoutBatch - skip < size - done ? kDropoutBatch - skip : size - done;
    if (take == kDropoutBatch) {
      drop_batch(out + done, x + done, first_block, rule);
    } else {
      std::memcpy(in_batch + skip, x + done, static_cast<std::size_t>(take) * sizeof(T));
      drop_batch(out_batch, in_batch, first_block, rule);
      std::memcpy(out + done, out_batch + skip, static_cast<std::size_t>(take) * sizeof(T));
    }
    done += take;
  }
}

}  // namespace
}  // namespace lowbank::LOWBANK_ISA
