#include "compress/truncate_svd.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/randn.h>

#include "torch_support.h"

namespace lowbank {
namespace {

class TruncateSvdTest : public testing::SeededTest {};

torch::Tensor product(const SvdFactors& f) { return at::matmul(f.u_OR * f.s_R, f.vh_RI); }

TEST_F(TruncateSvdTest, FullRankGivesTheMatrixBackWhicheverSideIsLonger) {
  for (const auto& shape : {std::pair{7, 5}, std::pair{5, 7}, std::pair{6, 6}}) {
    const auto w_OI = at::randn({shape.first, shape.second});
    // Double precision inside: only the rounding of w itself, which is exact in double, is left.
    EXPECT_TENSOR_NEAR(product(thin_svd(w_OI)), w_OI.to(c10::kDouble), 1e-13);
  }
}

TEST_F(TruncateSvdTest, TheLargestEntryOfEachColumnOfUIsPositive) {
  const auto u_OR = thin_svd(at::randn({9, 6})).u_OR;
  const auto largest_R = u_OR.gather(0, u_OR.abs().argmax(0, true));
  EXPECT_TRUE((largest_R > 0).all().item<bool>());
}

TEST_F(TruncateSvdTest, TheErrorFromTheSingularValuesIsTheErrorOfTheProduct) {
  const auto w_OI = at::randn({8, 6}, c10::kDouble);
  const auto full = thin_svd(w_OI);
  for (std::int64_t rank = 1; rank <= 6; ++rank) {
    const double direct = (at::linalg_vector_norm(w_OI - product(truncate_svd(full, rank))) /
                           at::linalg_vector_norm(w_OI))
                              .item<double>();
    EXPECT_NEAR(truncation_error(full, rank), direct, 1e-12) << "rank " << rank;
  }
}

TEST_F(TruncateSvdTest, AMatrixOfRankTwoIsExactAtRankTwo) {
  const auto w_OI =
      at::outer(at::randn({9}), at::randn({5})) + at::outer(at::randn({9}), at::randn({5}));
  EXPECT_LT(truncation_error(thin_svd(w_OI), 2), 1e-6);  // w itself is rounded to float32
  EXPECT_GT(truncation_error(thin_svd(w_OI), 1), 1e-3);
}

TEST_F(TruncateSvdTest, ARankOutsideTheMatrixIsRefused) {
  const auto full = thin_svd(at::randn({4, 3}));
  EXPECT_THROW(truncate_svd(full, 0), c10::Error);
  EXPECT_THROW(truncate_svd(full, 4), c10::Error);
}

}  // namespace
}  // namespace lowbank
