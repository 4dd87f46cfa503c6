#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace lowbank {

/// The file that a FolderLock keeps in its folder; it holds the owner's name.
inline constexpr std::string_view kLockFile = ".lock";

/// Keeps other processes of Lowbank from writing to a folder. The operating system ends the lock
/// with its process, however that ends: a lock file that is left behind locks nothing.
class FolderLock {
 public:
  /// Locks the folder, which must exist, for `owner` ("lowbank finetune"); waits that long for
  /// another owner to end. Where the file system knows no locks there is a warning and no lock.
  /// Errors: IoError that names the other owner, or if the folder cannot be written.
  FolderLock(const std::string& folder, const std::string& owner, std::chrono::seconds patience);
  ~FolderLock();
  bool is_held() const { return fd_ >= 0; }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace lowbank
