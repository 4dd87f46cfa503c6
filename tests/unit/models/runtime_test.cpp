#include "kernels/runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

RuntimeOptions settings(const std::string& device, c10::ScalarType type = c10::kFloat,
                        std::int64_t threads = 1) {
  return {.threads = threads, .device = device, .type = type};
}

std::string refusal(const RuntimeOptions& options) {
  try {
    apply_runtime(options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

class RuntimeTest : public ::testing::Test {
 protected:
  ~RuntimeTest() override { at::set_num_threads(1); }
};

TEST_F(RuntimeTest, ThreadsAreSetAndZeroMeansAllCores) {
  EXPECT_TRUE(apply_runtime(settings("cpu", c10::kFloat, 2)).is_cpu());
  EXPECT_EQ(at::get_num_threads(), 2);
  apply_runtime(settings("cpu", c10::kFloat, 0));
  EXPECT_GE(at::get_num_threads(), 1);
  EXPECT_THAT(refusal(settings("cpu", c10::kFloat, 100000)), HasSubstr("threads: 100000"));
}

TEST_F(RuntimeTest, UnknownDevicesAreNamed) {
  for (const char* device : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
    EXPECT_THAT(refusal(settings(device)), HasSubstr("device: '" + std::string(device) + "'"));
  }
}

TEST_F(RuntimeTest, AGpuThatIsNotThereIsRefusedWithAHint) {
  if (at::hasCUDA()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(refusal(settings("cuda:1")), AllOf(HasSubstr("'cuda:1'"), HasSubstr("--device cpu")));
}

TEST_F(RuntimeTest, HalfPrecisionOnTheCpuIsBfloat16Only) {
  EXPECT_EQ(refusal(settings("cpu", c10::kBFloat16)), "accepted");
  EXPECT_THAT(refusal(settings("cpu", c10::kHalf)), AllOf(HasSubstr("f16"), HasSubstr("bf16")));
}

}  // namespace
}  // namespace lowbank
