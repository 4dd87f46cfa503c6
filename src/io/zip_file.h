#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/mapped_file.h"

namespace lowbank {

/// The entries of a zip archive as torch.save writes it: stored without compression, so that each
/// entry is a view of the mapped file. Zip64 sizes and data descriptors are supported.
///
/// Source:  PKWARE APPNOTE.TXT 6.3 (4.3 layout, 4.5.3 zip64).
/// Differs: compressed and encrypted entries are refused, so that no entry can be larger than the
///          file. Entries that overlap, that differ from their own local header, or whose name
///          leads out of the archive ("..") are refused as well.
class ZipFile {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  explicit ZipFile(std::shared_ptr<const MappedFile> file);

  const std::map<std::string, std::span<const std::byte>, std::less<>>& entries() const {
    return entries_;
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, std::span<const std::byte>, std::less<>> entries_;
};

}  // namespace lowbank
