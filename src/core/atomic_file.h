#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowbank {

/// A file that appears whole or not at all: written under a temporary name in the same folder,
/// then flushed to disk and renamed over the target by commit(); dropped when not committed. A
/// device or pipe (/dev/stdout) is written to directly; of a symbolic link the target is replaced.
class AtomicFile {
 public:
  /// Errors: IoError when the folder does not exist or cannot be written.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Errors: IoError (disk full, quota), naming the path.
  void write(std::string_view bytes);
  void commit();

 private:
  std::string path_;
  std::string temporary_;  // "" for a device: nothing to rename
  int fd_ = -1;
};

/// AtomicFile over one buffer.
void write_file(const std::string& path, std::string_view bytes);

/// Creates the folder and its parents; returns the topmost one that it made, "" if none. Errors:
/// IoError.
std::string make_folders(const std::string& path);

/// Undoes make_folders: removes the folder with all that is in it, then its parents up to
/// `topmost`, these only while empty (something else may have come to live there).
void remove_folders(const std::string& path, const std::string& topmost);

/// Flushes a folder's entries (renames) to disk. Errors: IoError.
void sync_folder(const std::string& path);

}  // namespace lowbank
