#include "io/zip_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace lowbank {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034B50;
constexpr std::uint32_t kCentralHeader = 0x02014B50;
constexpr std::uint32_t kEndRecord = 0x06054B50;
constexpr std::uint32_t kEnd64Record = 0x06064B50;
constexpr std::uint32_t kEnd64Locator = 0x07064B50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kMaxComment = 65535;

/// Little-endian fields at fixed places; every access is checked against the file's end.
class ZipBytes {
 public:
  explicit ZipBytes(const MappedFile& file) : file_(file) {}

  std::uint64_t size() const { return file_.bytes().size(); }
  template <class T>
  T at(std::uint64_t offset) const {
    T value;
    std::memcpy(&value, take(offset, sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> take(std::uint64_t offset, std::uint64_t length) const {
    if (offset > size() || length > size() - offset) {
      refuse(fmt::format("{} bytes at {} lie beyond its end ({} bytes): it is cut off or damaged",
                         length, offset, size()));
    }
    return file_.bytes().subspan(static_cast<std::size_t>(offset),
                                 static_cast<std::size_t>(length));
  }
  std::string_view text(std::uint64_t offset, std::uint64_t length) const {
    const auto bytes = take(offset, length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw IoError(file_.path() + ": zip archive: " + what);
  }

 private:
  const MappedFile& file_;
};

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t num_entries = 0;
};

Directory find_directory(const ZipBytes& zip) {
  if (zip.size() < kEndBytes) zip.refuse("is too short to have a directory");
  // The end record is the last one; only a comment may follow it.
  std::uint64_t end = zip.size() - kEndBytes;
  const std::uint64_t first = end - std::min<std::uint64_t>(end, kMaxComment);
  while (zip.at<std::uint32_t>(end) != kEndRecord) {
    if (end == first) zip.refuse("has no directory at its end: it is cut off");
    --end;
  }
  Directory directory = {.offset = zip.at<std::uint32_t>(end + 16),
                         .num_entries = zip.at<std::uint16_t>(end + 10)};
  constexpr std::uint64_t kLocatorBytes = 20;
  if (end >= kLocatorBytes && zip.at<std::uint32_t>(end - kLocatorBytes) == kEnd64Locator) {
    const auto record = zip.at<std::uint64_t>(end - kLocatorBytes + 8);
    if (zip.at<std::uint32_t>(record) != kEnd64Record) zip.refuse("the zip64 record is damaged");
    directory = {.offset = zip.at<std::uint64_t>(record + 48),
                 .num_entries = zip.at<std::uint64_t>(record + 32)};
  }
  return directory;
}

struct CentralEntry {
  std::string name;
  std::uint64_t size = 0;
  std::uint64_t compressed_size = 0;
  std::uint64_t local_offset = 0;
  std::uint64_t bytes = 0;  // size of the entry's record in the directory
};

// Sizes of 2^32 - 1 and more are in the extra field with the tag 1, only those and in this order.
void read_zip64(const ZipBytes& zip, std::uint64_t extra, std::uint64_t extra_end,
                CentralEntry& entry) {
  constexpr std::uint64_t kElsewhere = 0xFFFF'FFFF;
  while (extra + 4 <= extra_end) {
    const auto tag = zip.at<std::uint16_t>(extra);
    std::uint64_t at = extra + 4;
    const std::uint64_t end = at + zip.at<std::uint16_t>(extra + 2);
    if (tag == 1) {
      for (auto* field : {&entry.size, &entry.compressed_size, &entry.local_offset}) {
        if (*field != kElsewhere) continue;
        if (at + 8 > end || end > extra_end) zip.refuse("'" + entry.name + "' has a damaged size");
        *field = zip.at<std::uint64_t>(at);
        at += 8;
      }
    }
    extra = end;
  }
}

CentralEntry read_central(const ZipBytes& zip, std::uint64_t at) {
  if (zip.at<std::uint32_t>(at) != kCentralHeader) {
    zip.refuse(fmt::format("the directory is damaged at byte {}", at));
  }
  const auto name_bytes = zip.at<std::uint16_t>(at + 28);
  const auto extra_bytes = zip.at<std::uint16_t>(at + 30);
  const auto comment_bytes = zip.at<std::uint16_t>(at + 32);
  CentralEntry entry;
  entry.name = zip.text(at + 46, name_bytes);
  const bool is_printable = std::none_of(entry.name.begin(), entry.name.end(),
                                         [](char c) { return (c >= 0 && c < ' ') || c == '\x7F'; });
  if (find_invalid_utf8(entry.name) != std::string_view::npos || entry.name.empty() ||
      !is_printable) {
    zip.refuse(fmt::format("the name at byte {} is empty, or no printable UTF-8", at));
  }
  entry.compressed_size = zip.at<std::uint32_t>(at + 20);
  entry.size = zip.at<std::uint32_t>(at + 24);
  entry.local_offset = zip.at<std::uint32_t>(at + 42);
  entry.bytes = std::uint64_t{46} + name_bytes + extra_bytes + comment_bytes;
  read_zip64(zip, at + 46 + name_bytes, at + 46 + name_bytes + extra_bytes, entry);
  const auto flags = zip.at<std::uint16_t>(at + 8);
  if ((flags & 1) != 0) zip.refuse("'" + entry.name + "' is encrypted");
  if (zip.at<std::uint16_t>(at + 10) != 0 || entry.compressed_size != entry.size) {
    zip.refuse("'" + entry.name +
               "' is compressed; torch.save only stores: load and save the file again with torch");
  }
  const std::string guarded = "/" + entry.name + "/";
  if (guarded.find("/../") != std::string::npos || entry.name.front() == '/') {
    zip.refuse("'" + entry.name + "' leads out of the archive");
  }
  return entry;
}

// Offset of the values of an entry. They follow its local header, which must name the same file.
std::uint64_t data_offset(const ZipBytes& zip, const CentralEntry& entry) {
  const std::uint64_t at = entry.local_offset;
  if (zip.at<std::uint32_t>(at) != kLocalHeader) {
    zip.refuse(fmt::format("'{}' has no header at byte {}", entry.name, at));
  }
  const auto name_bytes = zip.at<std::uint16_t>(at + 26);
  const auto extra_bytes = zip.at<std::uint16_t>(at + 28);
  if (zip.text(at + 30, name_bytes) != entry.name) {
    zip.refuse(fmt::format("'{}' has another name in its own header", entry.name));
  }
  // The sizes may follow the values (flag 3) or be in the extra field (all bits set).
  const auto size = zip.at<std::uint32_t>(at + 22);
  const bool has_size = (zip.at<std::uint16_t>(at + 6) & 8) == 0 && size != 0xFFFF'FFFF;
  if (zip.at<std::uint16_t>(at + 8) != 0 || (has_size && size != entry.size)) {
    zip.refuse(fmt::format("'{}' has another size or method in its own header", entry.name));
  }
  return at + 30 + name_bytes + extra_bytes;
}

}  // namespace

ZipFile::ZipFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  const ZipBytes zip(*file_);
  const Directory directory = find_directory(zip);
  if (directory.offset > zip.size() || directory.num_entries > zip.size() / 46) {
    zip.refuse(fmt::format("claims {} entries at byte {}, it has {} bytes", directory.num_entries,
                           directory.offset, zip.size()));
  }
  struct Range {
    std::uint64_t begin, end;
    std::string name;
  };
  std::vector<Range> ranges;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.num_entries; ++i) {
    CentralEntry entry = read_central(zip, at);
    at += entry.bytes;
    const std::uint64_t begin = data_offset(zip, entry);
    const auto bytes = zip.take(begin, entry.size);
    ranges.push_back({entry.local_offset, begin + entry.size, entry.name});
    if (!entries_.emplace(entry.name, bytes).second) {
      zip.refuse("holds '" + entry.name + "' twice");
    }
  }
  ranges.push_back({directory.offset, at, "the directory"});
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].begin < ranges[i - 1].end) {
      zip.refuse(fmt::format("'{}' and '{}' overlap", ranges[i - 1].name, ranges[i].name));
    }
  }
}

}  // namespace lowbank
