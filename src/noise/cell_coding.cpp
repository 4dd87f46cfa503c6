#include "noise/cell_coding.h"

#include <algorithm>
#include <cstdlib>

#include <c10/util/Exception.h>

namespace lowbank {
namespace {

template <class LevelOfCode>
CellSlice make_slice(int place_value, LevelOfCode level) {
  CellSlice slice{.place_value = place_value};
  for (int code = -kCodeOffset; code < 256 - kCodeOffset; ++code) {
    slice.levels[static_cast<std::size_t>(code + kCodeOffset)] = level(code);
  }
  return slice;
}

}  // namespace

CellCoding::CellCoding(CellEncoding encoding, int weight_bits, int cell_bits) {
  TORCH_CHECK(weight_bits >= 2 && weight_bits <= 8 && cell_bits >= 1 && cell_bits <= 4,
              "CellCoding: weight_bits must be in [2, 8] and cell_bits in [1, 4], got ",
              weight_bits, " and ", cell_bits);
  const int num_levels = 1 << cell_bits;
  const auto level_of_bits = [&](int bits, int slice) {
    return (bits >> (slice * cell_bits)) & (num_levels - 1);
  };
  // A magnitude has no sign bit; the remaining bits of the top cell stay unused.
  const int magnitude_slices = (weight_bits - 1 + cell_bits - 1) / cell_bits;
  const int all_slices = (weight_bits + cell_bits - 1) / cell_bits;
  switch (encoding) {
    case CellEncoding::kTwosComplement:
      for (int i = 0; i < all_slices; ++i) {
        slices_.push_back(make_slice(1 << (i * cell_bits), [&](int code) {
          // An arithmetic shift leaves the top group signed.
          return i + 1 == all_slices ? code >> (i * cell_bits) : level_of_bits(code & 0xFF, i);
        }));
      }
      // A 1-bit top slice is 0 or -1: one cell, subtracted.
      cells_per_weight_ = all_slices + (cell_bits > 1 ? 1 : 0);
      break;
    case CellEncoding::kSignMagnitude:
      for (int i = 0; i < magnitude_slices; ++i) {
        slices_.push_back(make_slice(1 << (i * cell_bits), [&](int code) {
          const int level = level_of_bits(std::abs(code), i);
          return code < 0 ? -level : level;
        }));
      }
      cells_per_weight_ = 2 * magnitude_slices;
      break;
    case CellEncoding::kDifferential:
      for (const int sign : {1, -1}) {
        for (int i = 0; i < magnitude_slices; ++i) {
          slices_.push_back(make_slice(sign * (1 << (i * cell_bits)), [&](int code) {
            return level_of_bits(std::max(sign * code, 0), i);
          }));
        }
      }
      cells_per_weight_ = 2 * magnitude_slices;
      break;
    case CellEncoding::kOffsetBinary:
      offset_ = 1 << (weight_bits - 1);
      for (int i = 0; i < all_slices; ++i) {
        slices_.push_back(make_slice(1 << (i * cell_bits), [&](int code) {
          return level_of_bits(std::max(code + offset_, 0), i);
        }));
      }
      cells_per_weight_ = all_slices;
      break;
  }
}

}  // namespace lowbank
