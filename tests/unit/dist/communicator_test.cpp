#include "dist/communicator.h"

#include <array>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace lowbank {
namespace {

// Started by mpirun as well (dist_mpi_test); MPI can be initialised once a process, so one test.
TEST(Communicator, SumsOverAllProcessesAndKnowsHowManyThereAre) {
  const char* const expected = std::getenv("LOWBANK_EXPECTED_RANKS");
  const std::int64_t ranks = expected == nullptr ? 1 : std::stoll(expected);
  const auto world = make_communicator();
  ASSERT_EQ(world->size(), ranks);
  ASSERT_LT(world->rank(), ranks);
  std::array<double, 2> values = {1.0, static_cast<double>(world->rank())};
  world->all_reduce_sum(values);
  EXPECT_EQ(values[0], static_cast<double>(ranks));
  EXPECT_EQ(values[1], static_cast<double>(ranks * (ranks - 1) / 2));
  world->barrier();
}

}  // namespace
}  // namespace lowbank
