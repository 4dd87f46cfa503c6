#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace lowbank {

/// A file that appears whole or not at all. It is written under a temporary name in the same
/// folder; commit() flushes it to disk and renames it over the target, and without commit() it is
/// removed. A device or pipe (/dev/stdout) is written to directly.
class AtomicFile {
 public:
  /// What to do where the path is a symbolic link to a file.
  enum class Links {
    kFollow,  ///< replace the file that it points to: the user named this path
    kReplace  ///< replace the link: Lowbank named this file, in a folder of its own
  };
  /// Errors: IoError when the folder does not exist or cannot be written.
  explicit AtomicFile(std::string path, Links links = Links::kFollow);
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

/// Writes `bytes` as the whole content of an AtomicFile. Errors: IoError.
void write_file(const std::string& path, std::string_view bytes,
                AtomicFile::Links links = AtomicFile::Links::kFollow);

/// Subfolder in which files that belong together are written before they are moved into place.
inline constexpr std::string_view kPartialFolder = ".partial";

/// Whether a file of this name is what an AtomicFile renames to `target`, or never will.
bool is_temporary_of(std::string_view name, std::string_view target);

/// Removes what AtomicFiles of processes that are no more left in the folder in place of the file
/// `target`.
void remove_dead_temporaries(const std::string& folder, std::string_view target);

/// Removes what AtomicFiles of other processes left in the folder (not below it) in place of any
/// file. For a folder that is Lowbank's own (elsewhere other programs may name their files so) and
/// locked: nobody else writes there, even if the number of a dead process is another's by now.
void remove_left_temporaries(const std::string& folder);

/// Opens a file to add lines at its end, and never through a link; nullptr sets errno.
std::FILE* open_to_append(const std::string& path);

/// Creates the folder and its parents; returns the topmost folder that it created, "" if all
/// existed. Errors: IoError.
std::string make_folders(const std::string& path);

/// Undoes make_folders: removes the folder with everything in it, then its parents up to `topmost`
/// as long as they are empty (another program may have put files there).
void remove_folders(const std::string& path, const std::string& topmost);

/// Flushes a folder's entries (renames) to disk. Errors: IoError.
void sync_folder(const std::string& path);

}  // namespace lowbank
