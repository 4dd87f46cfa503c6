#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/element_type.h"

namespace lowbank {

struct TensorEntry {
  std::string name;
  ElementType type = ElementType::kF32;
  std::vector<std::int64_t> shape;  ///< outermost dimension first, as torch
  std::uint64_t offset_bytes = 0;   ///< where the values lie in the file; meaning is the format's
  std::uint64_t size_bytes = 0;     ///< of the values in row-major order
};

/// Tensors in a file (or in the shards of a folder), whatever its format: safetensors, GGUF,
/// PyTorch, llama2.c. Opening reads and checks the headers only.
class TensorArchive {
 public:
  virtual ~TensorArchive() = default;

  const std::string& path() const { return path_; }
  /// In file order.
  const std::vector<TensorEntry>& entries() const { return entries_; }
  const TensorEntry* find(std::string_view name) const;  ///< nullptr if absent

  /// Little-endian values of one of entries(), row-major: usually a view of the mapped file, valid
  /// as long as the archive and aligned as the file has it; made in `scratch` where the file does
  /// not hold them in one piece (a transposed or compressed PyTorch tensor).
  /// Errors: IoError where the values turn out to be damaged.
  virtual std::span<const std::byte> bytes(const TensorEntry& entry,
                                           std::vector<std::byte>& scratch) const = 0;

 protected:
  explicit TensorArchive(std::string path) : path_(std::move(path)) {}
  /// Takes over the entries. Errors: IoError for a name twice, and for one that is not UTF-8 or has
  /// control characters.
  void set_entries(std::vector<TensorEntry> entries);

 private:
  std::string path_;
  std::vector<TensorEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> position in entries_
};

/// Opens a weights file by what is in it, not by its name: safetensors, GGUF, PyTorch (zip or
/// legacy pickle), llama2.c. Errors: IoError; also for a file that is none of these.
std::shared_ptr<const TensorArchive> open_archive(const std::string& path);

/// The weights of a Hugging Face folder as one archive: model.safetensors, the shards that
/// model.safetensors.index.json names, pytorch_model.bin, or the shards of
/// pytorch_model.bin.index.json, whichever is there first.
///
/// Errors: IoError; for shards also a name that leads out of the folder, and a tensor that is not
/// in the shard the index gives or is in no entry of the index.
std::shared_ptr<const TensorArchive> open_weights_folder(const std::string& folder);

}  // namespace lowbank
