#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace lowbank {

/// A file mapped read-only as long as the object lives.
class MappedFile {
 public:
  /// Errors: IoError for what is missing, unreadable, or no regular file.
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

/// Gives the memory of mapped pages back that will not be read again soon (reading them again is
/// slow but right), so that a pass over a large file does not grow the process by its size. The
/// bytes must lie in a MappedFile.
void drop_pages(std::span<const std::byte> bytes);

}  // namespace lowbank
