#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace lowbank {

/// A file that is mapped read-only as long as the object lives.
class MappedFile {
 public:
  /// Errors: IoError for a path that is missing, unreadable, or not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile() = default;
  std::string path_;
  std::span<const std::byte> bytes_;
};

/// Frees the memory of mapped pages that will not be read again soon, so that a pass over a large
/// file does not grow the process by the file's size. Reading the pages again is slow but correct.
/// The bytes must lie in a MappedFile.
void drop_pages(std::span<const std::byte> bytes);

}  // namespace lowbank
