#include "core/resources.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "core/error.h"
#include "core/opened_files.h"

namespace lowbank {
namespace fs = std::filesystem;

std::string executable_folder() {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (error) throw IoError("/proc/self/exe: cannot read the link: " + error.message());
  return executable.parent_path().string();
}

namespace {

std::mutex g_names_mutex;
std::map<std::string, std::string> g_names;  // of found files, by path

std::string locate(const std::string& relative) {
  std::error_code error;
  std::string looked;
  if (const char* const home = std::getenv("LOWBANK_HOME"); home != nullptr && *home != '\0') {
    const fs::path path = fs::path(home) / relative;
    if (fs::exists(path, error)) return path.string();
    looked = fmt::format("{} (LOWBANK_HOME), ", home);
  }
  const fs::path start = executable_folder();
  for (fs::path folder = start;; folder = folder.parent_path()) {
    if (fs::exists(folder / relative, error)) return (folder / relative).string();
    if (folder == folder.root_path()) break;
  }
  const fs::path share = start.parent_path() / "share" / "lowbank";
  if (fs::exists(share / relative, error)) return (share / relative).string();
  throw IoError(fmt::format(
      "{}: not found in {}{} and the folders above it, {}; set LOWBANK_HOME to Lowbank's folder",
      relative, looked, start.string(), share.string()));
}

// Any other name could only be found by accident, in one of the folders above the executable.
bool can_ship(const fs::path& path) {
  const fs::path plain = path.lexically_normal();
  const auto begins_with = [&](const fs::path& folder) {
    return std::mismatch(folder.begin(), folder.end(), plain.begin(), plain.end()).first ==
           folder.end();
  };
  return begins_with("configs") || begins_with("data/samples");
}

}  // namespace

std::string find_resource(const std::string& relative) {
  const std::string path = locate(relative);
  const std::lock_guard lock(g_names_mutex);
  g_names.emplace(path, relative);
  return path;
}

std::string resource_name(const std::string& path) {
  const std::lock_guard lock(g_names_mutex);
  const auto found = g_names.find(path);
  return found == g_names.end() ? "" : found->second;
}

std::string find_input(const std::string& path, const std::string& recipe_folder) {
  std::error_code error;
  if (path.empty() || fs::path(path).is_absolute() || fs::exists(path, error)) return path;
  note_missing_file(path);
  if (!recipe_folder.empty()) {
    const fs::path beside = fs::path(recipe_folder) / path;
    if (fs::exists(beside, error)) return beside.string();
    note_missing_file(beside.string());
  }
  if (!can_ship(path)) return path;
  try {
    return find_resource(path);
  } catch (const IoError&) {
    return path;
  }
}

}  // namespace lowbank
