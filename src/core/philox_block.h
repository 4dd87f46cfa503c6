#pragma once

#include <cstdint>

// The integer part of the random number generator. Host and device code share it, so that both draw
// the same bits.
#ifdef __CUDACC__
#define LOWBANK_HOST_DEVICE __host__ __device__
#else
// Always inlined: kernels/cpu compiles these functions for several instruction sets, and if they
// were not inlined, the linker would keep one copy for all of them.
#define LOWBANK_HOST_DEVICE [[gnu::always_inline]]
#endif

namespace lowbank {

struct PhiloxBlock {
  std::uint32_t words[4];
};

/// Philox 4x32-10 (see core/philox.h).
LOWBANK_HOST_DEVICE inline PhiloxBlock philox_block(PhiloxBlock counter, std::uint32_t key0,
                                                    std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter.words[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter.words[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.words[1] ^ key0,
                static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.words[3] ^ key1,
                static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// Block `index` of the stream (key, stream) that a RandomKey names.
LOWBANK_HOST_DEVICE inline PhiloxBlock stream_block(std::uint64_t key, std::uint64_t stream,
                                                    std::uint64_t index) {
  return philox_block(
      {{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
        static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
      static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32));
}

/// 23 bits, centred in their cell: never 0, never 1 (with 24 the last cell's centre rounds to 1).
LOWBANK_HOST_DEVICE inline float uniform_from_word(std::uint32_t word) {
  return (static_cast<float>(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

}  // namespace lowbank
