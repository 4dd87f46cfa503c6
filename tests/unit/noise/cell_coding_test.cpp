#include "noise/cell_coding.h"

#include <numeric>

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace lowbank {
namespace {

constexpr CellEncoding kEncodings[] = {CellEncoding::kTwosComplement, CellEncoding::kSignMagnitude,
                                       CellEncoding::kDifferential, CellEncoding::kOffsetBinary};

TEST(CellCoding, SlicesRecombineToTheCodeForEveryCodeEncodingAndCellSize) {
  for (const CellEncoding encoding : kEncodings) {
    for (const int cell_bits : {1, 2, 4}) {
      const CellCoding coding(encoding, 8, cell_bits);
      for (int code = -127; code <= 127; ++code) {
        int sum = -coding.offset();
        for (const auto& slice : coding.slices()) {
          sum += slice.place_value * slice.levels[static_cast<std::size_t>(code + kCodeOffset)];
        }
        EXPECT_EQ(sum, code) << "encoding " << static_cast<int>(encoding) << ", " << cell_bits
                             << " bits a cell";
      }
    }
  }
}

TEST(CellCoding, MinusOneInTwosComplementIsMinus64Plus48Plus12Plus3) {
  const CellCoding coding(CellEncoding::kTwosComplement, 8, 2);
  std::vector<int> parts;
  for (const auto& slice : coding.slices()) {
    parts.push_back(slice.place_value * slice.levels[kCodeOffset - 1]);
  }
  EXPECT_EQ(parts, (std::vector<int>{3, 12, 48, -64}));
}

TEST(CellCoding, SignedLevelsCountTheirCellsTwice) {
  EXPECT_EQ(CellCoding(CellEncoding::kOffsetBinary, 8, 2).cells_per_weight(), 4);
  EXPECT_EQ(CellCoding(CellEncoding::kOffsetBinary, 8, 1).cells_per_weight(), 8);
  EXPECT_EQ(CellCoding(CellEncoding::kSignMagnitude, 8, 2).cells_per_weight(),
            CellCoding(CellEncoding::kDifferential, 8, 2).cells_per_weight());
  EXPECT_GT(CellCoding(CellEncoding::kTwosComplement, 8, 2).cells_per_weight(), 4)
      << "the signed top slice";
}

TEST(CellCoding, UnknownBitsAreRefused) {
  EXPECT_THROW(CellCoding(CellEncoding::kOffsetBinary, 9, 2), c10::Error);
  EXPECT_THROW(CellCoding(CellEncoding::kOffsetBinary, 8, 5), c10::Error);
}

}  // namespace
}  // namespace lowbank
