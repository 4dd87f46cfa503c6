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
  std::uint64_t offset_bytes = 0;   ///< place of the values in the file, as the format counts it
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

  /// The values of one of entries(), little-endian and row-major. Usually this is a view of the
  /// mapped file, which is valid as long as the archive and aligned as in the file. If the file
  /// holds the values in another order or in pieces (a transposed PyTorch tensor, llama2.c's
  /// projections), they are copied into `scratch`.
  /// Errors: IoError if the values turn out to be damaged.
  virtual std::span<const std::byte> bytes(const TensorEntry& entry,
                                           std::vector<std::byte>& scratch) const = 0;

 protected:
  explicit TensorArchive(std::string path) : path_(std::move(path)) {}
  /// Takes over the entries. Errors: IoError for a name that occurs twice, is not UTF-8 or has
  /// control characters.
  void set_entries(std::vector<TensorEntry> entries);

 private:
  std::string path_;
  std::vector<TensorEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> position in entries_
};

/// Opens a weights file: safetensors, GGUF, PyTorch (zip or legacy pickle) or llama2.c. The content
/// decides which it is, not the name. Errors: IoError, also for a file that is none of these.
std::shared_ptr<const TensorArchive> open_archive(const std::string& path);

/// The weights of a Hugging Face folder as one archive: model.safetensors, the shards that
/// model.safetensors.index.json names, pytorch_model.bin, or the shards of
/// pytorch_model.bin.index.json. The first of these that exists is used.
///
/// Errors: IoError, also for a shard's name that leads out of the folder, a tensor that is not in
/// the shard that the index names, and a tensor that the index does not list.
std::shared_ptr<const TensorArchive> open_weights_folder(const std::string& folder);

}  // namespace lowbank
