#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank {

/// Element types of a safetensors file that we read and write.
enum class ElementType {
  kBool,
  kU8,
  kI8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,
  kU64,
  kF16,
  kBf16,
  kF32,
  kF64,
  kF8E4m3,
  kF8E5m2
};

/// "F32", "BF16", ... as in the file's header.
std::string_view element_type_name(ElementType type);
std::int64_t element_size_bytes(ElementType type);

struct TensorEntry {
  std::string name;
  ElementType type = ElementType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset_bytes = 0;  ///< from the start of the data
  std::uint64_t size_bytes = 0;
};

/// A safetensors file, memory-mapped read-only; views stay valid as long as the object (shared).
///
/// Source:  huggingface/safetensors README.md (format, and the checks listed there).
/// Differs: none; every check is made (no holes, no overlap, exact length, no duplicate keys).
class SafetensorsFile {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);

  const std::vector<TensorEntry>& entries() const { return entries_; }  ///< in file order
  const TensorEntry* find(std::string_view name) const;                 ///< nullptr if absent
  /// The tensor's little-endian values; aligned to 8 bytes only if the writer padded its header.
  std::span<const std::byte> bytes(const TensorEntry& entry) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }

 private:
  SafetensorsFile() = default;
  std::string path_;
  std::shared_ptr<const void> mapping_;
  std::span<const std::byte> data_;
  std::vector<TensorEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> position in entries_
  std::map<std::string, std::string> metadata_;
};

/// The weights of a Hugging Face folder: model.safetensors, or the shards that
/// model.safetensors.index.json names.
///
/// Errors: IoError; for shards also a name that leads out of the folder, and a tensor that is not
/// in the shard the index gives or is in no shard's index entry.
std::vector<std::shared_ptr<const SafetensorsFile>> open_safetensors_folder(
    const std::string& folder);

/// A tensor to be written; `bytes` must stay valid until write_safetensors returns.
struct TensorToWrite {
  std::string name;
  ElementType type = ElementType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a file that appears whole or not at all; metadata gets {"format": "pt"} unless given.
///
/// Errors: IoError; std::invalid_argument for a name twice or a size that is not the shape's.
void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       std::map<std::string, std::string> metadata = {});

}  // namespace lowbank
