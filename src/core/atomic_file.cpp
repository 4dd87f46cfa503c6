#include "core/atomic_file.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace fs = std::filesystem;

namespace {

// The process that writes, or wrote, a temporary file of this name for `target` ("": for any file);
// 0 for another kind of name.
pid_t writer_of(std::string_view name, std::string_view target) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.ends_with(kEnd)) return 0;
  name.remove_suffix(kEnd.size());
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return 0;
  if (!target.empty() && name.substr(0, dot) != target) return 0;
  const std::string_view digits = name.substr(dot + 1);
  pid_t writer = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), writer);
  return error == std::errc() && end == digits.end() && writer > 0 ? writer : 0;
}

// Where the links from this path lead, whether there is a file or not.
std::string end_of_links(const std::string& path) {
  constexpr int kMaxLinks = 40;  // as many as Linux follows
  fs::path end = path;
  std::error_code error;
  for (int i = 0; i < kMaxLinks && fs::is_symlink(end, error); ++i) {
    end = end.parent_path() / fs::read_symlink(end, error);
  }
  return end.string();
}

template <class IsLeft>
void remove_temporaries(const std::string& folder, std::string_view target, IsLeft is_left) {
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, error);
       !error && it != fs::directory_iterator(); it.increment(error)) {
    const pid_t writer = writer_of(it->path().filename().string(), target);
    if (writer != 0 && is_left(writer)) unlink(it->path().c_str());
  }
}

}  // namespace

AtomicFile::AtomicFile(std::string path, Links links) : path_(std::move(path)) {
  std::error_code error;
  if (fs::is_directory(path_, error)) throw IoError(path_ + ": is a folder, a file is wanted");
  const bool replaces_link = links == Links::kReplace && fs::is_symlink(path_, error);
  if (!replaces_link && fs::exists(path_, error) && !fs::is_regular_file(path_, error)) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    if (!replaces_link) path_ = end_of_links(path_);
    temporary_ = fmt::format("{}.{}.tmp", path_, getpid());
    fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
  if (fd_ < 0) throw IoError(errno_message(path_, "cannot write", errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw IoError(errno_message(path_, "cannot write", errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void AtomicFile::commit() {
  if (temporary_.empty()) {
    if (close(std::exchange(fd_, -1)) != 0) {
      throw IoError(errno_message(path_, "cannot close", errno));
    }
    return;
  }
  if (fsync(fd_) != 0) throw IoError(errno_message(path_, "cannot flush to disk", errno));
  if (close(fd_) != 0) {
    fd_ = -1;
    unlink(temporary_.c_str());
    throw IoError(errno_message(path_, "cannot close", errno));
  }
  fd_ = -1;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error_number = errno;
    unlink(temporary_.c_str());
    throw IoError(errno_message(path_, "cannot rename into place", error_number));
  }
  sync_folder(fs::path(path_).parent_path().string());
}

bool is_temporary_of(std::string_view name, std::string_view target) {
  return writer_of(name, target) != 0;
}

void remove_dead_temporaries(const std::string& folder, std::string_view target) {
  remove_temporaries(folder, target,
                     [](pid_t writer) { return kill(writer, 0) != 0 && errno == ESRCH; });
}

void remove_left_temporaries(const std::string& folder) {
  remove_temporaries(folder, "", [](pid_t writer) { return writer != getpid(); });
}

void write_file(const std::string& path, std::string_view bytes, AtomicFile::Links links) {
  AtomicFile file(path, links);
  file.write(bytes);
  file.commit();
}

std::FILE* open_to_append(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return nullptr;
  std::FILE* const file = fdopen(fd, "a");
  if (file == nullptr) close(fd);
  return file;
}

std::string make_folders(const std::string& path) {
  std::error_code error;
  std::string topmost;
  for (fs::path folder = path; !folder.empty() && !fs::exists(folder, error);) {
    topmost = folder.string();
    folder = folder.parent_path();
  }
  fs::create_directories(path, error);
  if (error) throw IoError(path + ": cannot create the folder: " + error.message());
  return topmost;
}

void remove_folders(const std::string& path, const std::string& topmost) {
  std::error_code error;
  fs::remove_all(path, error);
  for (fs::path parent = path; parent != topmost && !error;) {
    parent = parent.parent_path();
    fs::remove(parent, error);
  }
}

void sync_folder(const std::string& path) {
  const std::string folder = path.empty() ? "." : path;
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw IoError(errno_message(folder, "cannot open the folder", errno));
  const int result = fsync(fd);
  close(fd);
  // Some file systems cannot sync a folder (EINVAL); the rename itself is still atomic there.
  if (result != 0 && errno != EINVAL) {
    throw IoError(errno_message(folder, "cannot flush the folder", errno));
  }
}

}  // namespace lowbank
