#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

// Tests whose name ends in _CUDA run only where a GPU is; one binary serves both machines.
int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!at::hasCUDA()) {
    const std::string filter = ::testing::GTEST_FLAG(filter);
    ::testing::GTEST_FLAG(filter) =
        filter + (filter.find('-') == std::string::npos ? "-" : ":") + "*_CUDA";
  }
  at::set_num_threads(1);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  return RUN_ALL_TESTS();
}
