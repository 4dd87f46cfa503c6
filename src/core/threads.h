#pragma once

#include <cstdint>

namespace lowbank {

/// Processors of this machine, also those that this process may not use.
std::int64_t num_processors();

/// The most threads that a command may be asked for on this machine: four for each processor, and 16
/// on small machines. More only take turns.
std::int64_t max_threads();

/// Starts that many threads and ends them again. OpenMP ends the process, or hangs, when it cannot
/// start a thread (a limit on processes or on memory), so this is tried before.
/// Errors: ResourceError if fewer can be started.
void require_threads(std::int64_t count);

}  // namespace lowbank
