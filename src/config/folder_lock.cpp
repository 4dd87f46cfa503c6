#include "config/folder_lock.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"

namespace lowbank {
namespace {

constexpr auto kPause = std::chrono::milliseconds(50);

std::string owner_in(int fd) {
  char text[256];
  const ssize_t size = pread(fd, text, sizeof(text), 0);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another process";
}

// The previous owner may have removed the file between our open() and our lock.
bool is_still(const std::string& path, int fd) {
  struct stat there {};
  struct stat ours {};
  return stat(path.c_str(), &there) == 0 && fstat(fd, &ours) == 0 && there.st_ino == ours.st_ino &&
         there.st_dev == ours.st_dev;
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, const std::string& owner,
                       std::chrono::seconds patience)
    : path_(fmt::format("{}/{}", folder, kLockFile)) {
  const auto end = std::chrono::steady_clock::now() + patience;
  bool told = false;
  for (;;) {
    const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) throw IoError(errno_message(path_, "cannot write", errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      if (is_still(path_, fd)) {
        fd_ = fd;
        break;
      }
      close(fd);
      continue;
    }
    const int lock_errno = errno;
    const std::string other = owner_in(fd);
    close(fd);
    if (lock_errno == EINTR) continue;
    if (lock_errno != EWOULDBLOCK) {
      warn("{}: this file system knows no locks; do not start two commands in this folder", folder);
      return;
    }
    if (interrupt_requested()) throw Interrupted("stopped while waiting for " + other);
    if (std::chrono::steady_clock::now() >= end) {
      throw IoError(fmt::format("{}: in use by {}; wait for its end or choose another folder",
                                folder, other));
    }
    if (!told) note("{}: waiting for the end of {}", folder, other);
    told = true;
    std::this_thread::sleep_for(kPause);
  }
  const std::string name = fmt::format("{} (process {})", owner, getpid());
  // Only a name for messages: the lock holds without it.
  static_cast<void>(ftruncate(fd_, 0) == 0 && pwrite(fd_, name.data(), name.size(), 0) > 0);
}

FolderLock::~FolderLock() {
  if (fd_ < 0) return;
  unlink(path_.c_str());  // first, while nobody else can hold it
  close(fd_);
}

}  // namespace lowbank
