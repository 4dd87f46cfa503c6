#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace lowbank {

/// Codes are int8; tables over them are indexed by code + kCodeOffset.
inline constexpr int kCodeOffset = 128;
template <class T>
using CodeTable = std::array<T, 256>;

/// One cell (or pair of cells that holds a signed level) of a weight.
struct CellSlice {
  int place_value = 1;      ///< what one level counts in code units; < 0 in the subtracted array
  CodeTable<int> levels{};  ///< level by code
};

/// How a code becomes levels of cells.
enum class CellEncoding {
  /// The code's bits in groups of cell_bits; the top group is signed, -1 is (-1, 3, 3, 3) for 2-bit
  /// cells (HyFlexPIM's simulator).
  kTwosComplement,
  /// Groups of the magnitude's bits, every level with the code's sign.
  kSignMagnitude,
  /// Magnitudes in one array for positive and one for negative codes, subtracted; both arrays are
  /// always read.
  kDifferential,
  /// Groups of code + 2^(weight_bits - 1); the offset is taken off digitally.
  kOffsetBinary
};

/// How an integer code is kept in memory cells: code = sum of place_value * level - offset.
///
/// A cell conducts or does not: a signed level takes two, one for each sign. The one whose sign is
/// not used stays unformed and adds no noise (in kDifferential it is formed at level zero).
class CellCoding {
 public:
  /// Errors: c10::Error for bits outside 2..8 and 1..4.
  CellCoding(CellEncoding encoding, int weight_bits, int cell_bits);

  /// Low place values first; in kDifferential the positive array, then the negative one.
  std::span<const CellSlice> slices() const { return slices_; }
  int offset() const { return offset_; }
  /// Cells of one weight; a signed level counts two.
  std::int64_t cells_per_weight() const { return cells_per_weight_; }

 private:
  std::vector<CellSlice> slices_;
  int offset_ = 0;
  std::int64_t cells_per_weight_ = 0;
};

}  // namespace lowbank
