#include "core/standard_streams.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"

namespace lowbank {
namespace {

std::array<bool, 3> g_was_closed = {false, false, false};

}  // namespace

void open_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // In place of standard output /dev/full, where `--out /dev/stdout` fails too.
    const char* const device = descriptor == STDOUT_FILENO ? "/dev/full" : "/dev/null";
    // The lowest free number is this one, because those below are open.
    if (open(device, O_RDWR | O_CLOEXEC) != descriptor) {
      throw IoError(errno_message(device, "cannot open", errno));
    }
    g_was_closed[static_cast<std::size_t>(descriptor)] = true;
  }
}

bool was_closed_at_start(int descriptor) {
  return g_was_closed.at(static_cast<std::size_t>(descriptor));
}

}  // namespace lowbank
