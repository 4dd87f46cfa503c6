#include "core/threads.h"

#include <cstdlib>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"

namespace lowbank {
namespace {

using ::testing::HasSubstr;

TEST(ThreadsTest, TheBoundFollowsTheMachine) {
  EXPECT_GE(num_processors(), 1);
  EXPECT_GE(max_threads(), 16);
  EXPECT_GE(max_threads(), 4 * num_processors());
  EXPECT_NO_THROW(require_threads(4));
  EXPECT_NO_THROW(require_threads(1));
}

#if !defined(__SANITIZE_ADDRESS__)  // which needs more address space than the limit
TEST(ThreadsTest, ThreadsThatCannotBeStartedAreAnError) {
  // In a process of its own, because the limit on the address space stays.
  EXPECT_EXIT(
      {
        rlimit limit{};
        getrlimit(RLIMIT_AS, &limit);
        limit.rlim_cur = 400u << 20;
        setrlimit(RLIMIT_AS, &limit);
        const std::string error = testing::error_text<ResourceError>([] { require_threads(1000); });
        std::fputs(error.c_str(), stderr);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "of 1000 can be started");
}
#endif

}  // namespace
}  // namespace lowbank
