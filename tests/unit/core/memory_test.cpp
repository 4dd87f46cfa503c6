#include "core/memory.h"

#include <cstdlib>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace lowbank {
namespace {

TEST(Memory, MoreThanThereIsIsAResourceErrorThatNamesBothFigures) {
  EXPECT_NO_THROW(require_memory(1, "a byte"));
  try {
    require_memory(std::uint64_t{1} << 60, "loading everything");
    FAIL() << "no error";
  } catch (const ResourceError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("loading everything needs about"), std::string::npos) << message;
    EXPECT_NE(message.find("is free"), std::string::npos) << message;
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // which has an allocator of its own
TEST(Memory, KeptMemoryIsNotFaultedInAgain) {
  unsetenv("THP_MEM_ALLOC_ENABLE");
  keep_tensor_memory();
  EXPECT_STREQ(std::getenv("THP_MEM_ALLOC_ENABLE"), "1");
  constexpr std::size_t kSize = std::size_t{64} << 20;  // 16384 pages
  const auto page_faults_of_a_block = [] {
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    const std::vector<char> block(kSize, 1);
    getrusage(RUSAGE_SELF, &after);
    EXPECT_EQ(block[kSize / 2], 1);
    return after.ru_minflt - before.ru_minflt;
  };
  page_faults_of_a_block();
  EXPECT_LT(page_faults_of_a_block(), 1000);
}

TEST(Memory, WhatTheUserSetStays) {
  setenv("THP_MEM_ALLOC_ENABLE", "0", /*overwrite=*/1);
  keep_tensor_memory();
  EXPECT_STREQ(std::getenv("THP_MEM_ALLOC_ENABLE"), "0");
  unsetenv("THP_MEM_ALLOC_ENABLE");
}
#endif

}  // namespace
}  // namespace lowbank
