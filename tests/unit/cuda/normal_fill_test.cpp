#include <vector>

#include "cuda_support.h"

namespace lowbank::testing {
namespace {

class CudaNormalFillTest : public CudaKernelTest {
 protected:
  static std::vector<double> draw(std::int64_t count, const RandomKey& key,
                                  std::uint64_t first_index) {
    DeviceArrays device;
    float* const out = device.unwritten(count);
    EXPECT_EQ(lowbank_cuda_normal_fill(out, count, key.key(), key.stream(), first_index), 0);
    device.expect_intact();
    return values_of(out, count);
  }

  static std::vector<double> drawn_by_the_cpu(std::int64_t count, const RandomKey& key,
                                              std::uint64_t first_index) {
    std::vector<float> out(static_cast<std::size_t>(count));
    fill_normal(out, key, first_index);
    return {out.begin(), out.end()};
  }
};

constexpr double kNormal = 1e-6;  // two evaluations in float32 of log, sin and cos, up to 5.5

TEST_F(CudaNormalFillTest, DrawsTheNumbersOfTheCpuWhereverTheSpanBeginsAndEnds) {
  const auto key = RandomKey(4).derive("noise");
  for (const std::uint64_t first_index : {0, 1, 2, 3, 4, 1022}) {
    for (const std::int64_t count : {0, 1, 2, 3, 4, 5, 6, 7, 1021, 1024, 1030}) {
      EXPECT_TRUE(values_near(draw(count, key, first_index),
                              drawn_by_the_cpu(count, key, first_index), kNormal))
          << count << " numbers from " << first_index;
    }
  }
}

TEST_F(CudaNormalFillTest, ReachesIndicesBeyond32Bits) {
  const auto key = RandomKey(4).derive("noise");
  for (const std::uint64_t first_index :
       {(std::uint64_t{1} << 32) - 2, (std::uint64_t{1} << 34) - 3, std::uint64_t{1} << 62}) {
    EXPECT_TRUE(
        values_near(draw(9, key, first_index), drawn_by_the_cpu(9, key, first_index), kNormal))
        << first_index;
  }
}

// A grid that the card's limit cuts off goes on in strides.
TEST_F(CudaNormalFillTest, FewerBlocksDrawTheSameNumbers) {
  const RandomKey key(7);
  const auto wanted = draw(5003, key, 3);
  for (const unsigned max_blocks : {1, 2}) {
    emulation::settings().max_blocks = max_blocks;
    EXPECT_EQ(draw(5003, key, 3), wanted);
  }
}

}  // namespace
}  // namespace lowbank::testing
