#include "core/error.h"

#include <cstring>

namespace lowbank {

std::string errno_message(const std::string& path, const std::string& doing, int error_number) {
  return path + ": " + doing + ": " + std::strerror(error_number);
}

}  // namespace lowbank
