#include "io/mapped_file.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/opened_files.h"

namespace lowbank {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  // O_NONBLOCK: a named pipe must be refused, not waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw IoError(errno_message(path, "cannot open", errno));
  struct stat info {};
  const int stat_result = fstat(fd, &info);
  const int stat_errno = errno;
  void* address = nullptr;
  if (stat_result == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    const auto size = static_cast<std::size_t>(info.st_size);
    address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address != MAP_FAILED) file->bytes_ = {static_cast<const std::byte*>(address), size};
  }
  const int map_errno = errno;
  close(fd);
  if (stat_result != 0) throw IoError(errno_message(path, "cannot read", stat_errno));
  if (S_ISDIR(info.st_mode)) throw IoError(path + ": is a folder, a file is wanted");
  if (!S_ISREG(info.st_mode)) throw IoError(path + ": is no regular file");
  if (address == MAP_FAILED) throw IoError(errno_message(path, "cannot map", map_errno));
  note_opened_file(path);
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void drop_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t skipped = (page - reinterpret_cast<std::uintptr_t>(bytes.data()) % page) % page;
  if (bytes.size() < skipped + page) return;
  const auto pages = bytes.subspan(skipped, (bytes.size() - skipped) / page * page);
  // Only advice: a failure costs nothing but the memory.
  madvise(const_cast<std::byte*>(pages.data()), pages.size(), MADV_DONTNEED);
}

}  // namespace lowbank
