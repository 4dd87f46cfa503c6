#include "core/threads.h"

#include <algorithm>
#include <latch>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

std::int64_t num_processors() { return std::max<std::int64_t>(1, sysconf(_SC_NPROCESSORS_CONF)); }

std::int64_t max_threads() { return std::max<std::int64_t>(16, 4 * num_processors()); }

void require_threads(std::int64_t count) {
  std::latch all_started(1);
  std::vector<std::thread> threads;
  std::string reason;
  try {
    for (std::int64_t i = 1; i < count; ++i) {
      threads.emplace_back([&] { all_started.wait(); });
    }
  } catch (const std::system_error& e) {
    reason = e.what();
  }
  all_started.count_down();
  for (auto& thread : threads) thread.join();
  if (!reason.empty()) {
    throw ResourceError(
        fmt::format("threads: only {} of {} can be started: {}; --threads takes a smaller number",
                    threads.size() + 1, count, reason));
  }
}

}  // namespace lowbank
