#include "core/opened_files.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <sys/stat.h>
#include <tuple>

namespace lowbank {
namespace {

namespace fs = std::filesystem;

// Device, number, size and time of change of a file: another content changes one of them.
using FileState = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t>;

std::mutex g_files_mutex;
std::set<std::string> g_files;
std::map<fs::path, FileState> g_states;  // by absolute path: a file has many names
std::set<std::string> g_missing;

FileState state_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_size,
          std::int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec};
}

fs::path full_path(const std::string& path) {
  std::error_code error;
  return fs::absolute(path, error).lexically_normal();
}

}  // namespace

void note_opened_file(const std::string& path) {
  const std::lock_guard lock(g_files_mutex);
  if (!g_files.insert(path).second) return;
  g_states.emplace(full_path(path), state_of(path));
}

void note_missing_file(const std::string& path) {
  const std::lock_guard lock(g_files_mutex);
  g_missing.insert(path);
}

std::vector<std::string> opened_files() {
  const std::lock_guard lock(g_files_mutex);
  return {g_files.begin(), g_files.end()};
}

std::vector<std::string> missing_files() {
  const std::lock_guard lock(g_files_mutex);
  return {g_missing.begin(), g_missing.end()};
}

bool has_changed_since_opened(const std::string& path) {
  const std::lock_guard lock(g_files_mutex);
  const auto found = g_states.find(full_path(path));
  return found != g_states.end() && found->second != state_of(path);
}

void forget_opened_files() {
  const std::lock_guard lock(g_files_mutex);
  g_files.clear();
  g_states.clear();
  g_missing.clear();
}

}  // namespace lowbank
