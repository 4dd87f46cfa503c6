#include "config/choose.h"

#include <gtest/gtest.h>

namespace lowbank {
namespace {

enum class Metal { kTin, kZinc };

TEST(Choose, AWordBecomesItsEnumerator) {
  const auto metal = [](const char* word) {
    return choose<Metal>(word, {{"tin", Metal::kTin}, {"zinc", Metal::kZinc}});
  };
  EXPECT_EQ(metal("tin"), Metal::kTin);
  EXPECT_EQ(metal("zinc"), Metal::kZinc);
  EXPECT_THROW(metal("lead"), std::logic_error) << "a field that allows more than the stage knows";
}

}  // namespace
}  // namespace lowbank
