#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "core/philox.h"
#include "cuda_emulation/emulation.h"
#include "cuda_emulation/guarded_bytes.h"
#include "kernels/cpu/selective_scan_core.h"
#include "kernels/cuda/cuda_api.h"

// What the tests of the CUDA kernels share. The kernels run on the CPU (tests/cuda_emulation) and
// are compared with the CPU's own in double, which read the same float32 operands.
namespace lowbank::testing {

/// Resets the emulation's settings after each test.
class CudaKernelTest : public ::testing::Test {
 protected:
  void TearDown() override { emulation::settings() = {}; }
};

/// Standard normal numbers, each of which is a float.
class NormalSource {
 public:
  explicit NormalSource(std::uint64_t seed) : key_(RandomKey(seed)) {}
  std::vector<double> draw(std::int64_t count) {
    std::vector<float> drawn(static_cast<std::size_t>(count));
    fill_normal(drawn, key_, num_drawn_);
    num_drawn_ += drawn.size();
    return {drawn.begin(), drawn.end()};
  }

 private:
  RandomKey key_;
  std::uint64_t num_drawn_ = 0;
};

/// A [B, T, X] operand whose rows have NaN between them; without values, the operand is left out.
struct PaddedRows {
  std::vector<double> values;
  std::int64_t batch_stride = 0;
  std::int64_t token_stride = 0;

  TokenRows<const double> of_sequence(std::int64_t sequence) const {
    return {values.empty() ? nullptr : values.data() + sequence * batch_stride, token_stride};
  }
};

inline PaddedRows padded_rows(NormalSource& source, std::int64_t batch, std::int64_t tokens,
                              std::int64_t width) {
  constexpr std::int64_t kRowPadding = 3;
  constexpr std::int64_t kSequencePadding = 5;
  PaddedRows rows;
  rows.token_stride = width + kRowPadding;
  rows.batch_stride = tokens * rows.token_stride + kSequencePadding;
  const auto drawn = source.draw(batch * tokens * width);
  rows.values.assign(static_cast<std::size_t>(batch * rows.batch_stride),
                     std::numeric_limits<double>::quiet_NaN());
  for (std::int64_t i = 0; i < batch * tokens; ++i) {
    std::copy_n(
        drawn.begin() + i * width, width,
        rows.values.begin() + i / tokens * rows.batch_stride + i % tokens * rows.token_stride);
  }
  return rows;
}

/// The arrays that a kernel is given, each float32 between guards.
class DeviceArrays {
 public:
  /// nullptr if there are no values, as the kernels expect for an operand that is left out.
  float* copy_of(const std::vector<double>& values) {
    if (values.empty()) return nullptr;
    float* const array = unwritten(static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), array);
    return array;
  }
  LowbankCudaRows copy_of(const PaddedRows& rows) {
    return {copy_of(rows.values), rows.batch_stride, rows.token_stride};
  }
  /// NaN in every element.
  float* unwritten(std::int64_t count) {
    arrays_.push_back(
        std::make_unique<emulation::GuardedBytes>(static_cast<std::size_t>(count) * sizeof(float)));
    return reinterpret_cast<float*>(arrays_.back()->data());
  }
  void expect_intact() const {
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      EXPECT_TRUE(arrays_[i]->is_intact()) << "something was written outside of array " << i;
    }
  }

 private:
  std::vector<std::unique_ptr<emulation::GuardedBytes>> arrays_;
};

inline std::vector<double> values_of(const float* array, std::int64_t count) {
  return {array, array + count};
}

/// The sum of `num_parts` adjacent arrays of `size` elements each.
inline std::vector<double> sum_of_parts(const std::vector<double>& parts, std::int64_t num_parts,
                                        std::int64_t size) {
  std::vector<double> sum(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < num_parts * size; ++i) sum[i % size] += parts[i];
  return sum;
}

/// |got - wanted| <= relative max(1, max |wanted|) for each element; NaN is never near.
inline ::testing::AssertionResult values_near(const std::vector<double>& got,
                                              const std::vector<double>& wanted, double relative) {
  if (got.size() != wanted.size()) {
    return ::testing::AssertionFailure() << got.size() << " and " << wanted.size() << " elements";
  }
  double scale = 1.0;
  for (const double x : wanted) scale = std::max(scale, std::abs(x));
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::abs(got[i] - wanted[i]) <= relative * scale)) {
      return ::testing::AssertionFailure() << "element " << i << " is " << got[i] << ", wanted "
                                           << wanted[i] << " +- " << relative * scale;
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace lowbank::testing
