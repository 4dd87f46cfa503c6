#include "core/opened_files.h"

#include <mutex>
#include <set>

namespace lowbank {
namespace {

std::mutex g_mutex;
std::set<std::string> g_files;

}  // namespace

void note_opened_file(const std::string& path) {
  const std::lock_guard lock(g_mutex);
  g_files.insert(path);
}

std::vector<std::string> opened_files() {
  const std::lock_guard lock(g_mutex);
  return {g_files.begin(), g_files.end()};
}

void forget_opened_files() {
  const std::lock_guard lock(g_mutex);
  g_files.clear();
}

}  // namespace lowbank
