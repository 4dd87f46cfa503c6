#pragma once

#include <cstdint>

namespace lowbank {

/// Which elements dropout zeroes, and by what the others are multiplied.
struct DropoutRule {
  std::uint64_t key = 0, stream = 0;  ///< of a RandomKey
  std::uint32_t threshold = 0;        ///< an element is kept if its 16 bits are not below it
  float scale = 1.0f;
};

/// out[i] = x[i] scaled or zeroed, as element first_index + i of the stream has it; on one thread.
/// The other form is of bfloat16 numbers.
void dropout_span(float* out, const float* x, std::int64_t size, std::uint64_t first_index,
                  const DropoutRule& rule);
void dropout_span(std::uint16_t* out, const std::uint16_t* x, std::int64_t size,
                  std::uint64_t first_index, const DropoutRule& rule);

}  // namespace lowbank
