#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace lowbank {

/// A table over all int8 codes; the index is code + kCodeOffset.
inline constexpr int kCodeOffset = 128;
template <class T>
using CodeTable = std::array<T, 256>;

/// One cell (or pair of cells that holds a signed level) of a weight.
struct CellSlice {
  int place_value = 1;      ///< code units per level; < 0 in the array that is subtracted
  CodeTable<int> levels{};  ///< the cell's level for each code
};

/// How a code is turned into levels of cells.
enum class CellEncoding {
  /// The code's bits in groups of cell_bits; the top group is signed, -1 is (-1, 3, 3, 3) for 2-bit
  /// cells (HyFlexPIM's simulator).
  kTwosComplement,
  /// The bits of the magnitude in groups of cell_bits; every level has the sign of the code.
  kSignMagnitude,
  /// One array holds the magnitudes of positive codes and one those of negative codes. Both arrays
  /// are always read, and the second is subtracted.
  kDifferential,
  /// The bits of code + 2^(weight_bits - 1) in groups; the offset is subtracted digitally.
  kOffsetBinary
};

/// How memory cells store an integer code: code = (sum of place_value * level) - offset.
///
/// A cell's conductance cannot be negative, so a signed level takes two cells, one for each sign.
/// The cell of the other sign stays unformed and adds no noise (in kDifferential it is formed at
/// level zero).
class CellCoding {
 public:
  /// Errors: c10::Error unless weight_bits is in [2, 8] and cell_bits in [1, 4].
  CellCoding(CellEncoding encoding, int weight_bits, int cell_bits);

  /// Low place values first; in kDifferential the positive array, then the negative one.
  std::span<const CellSlice> slices() const { return slices_; }
  int offset() const { return offset_; }
  /// Number of cells of one weight; a signed level counts as two.
  std::int64_t cells_per_weight() const { return cells_per_weight_; }

 private:
  std::vector<CellSlice> slices_;
  int offset_ = 0;
  std::int64_t cells_per_weight_ = 0;
};

}  // namespace lowbank
