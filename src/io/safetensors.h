#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "io/mapped_file.h"
#include "io/tensor_archive.h"

namespace lowbank {

/// A safetensors file, memory-mapped read-only; views are valid as long as the object lives.
///
/// Source:  huggingface/safetensors README.md (format, and the checks listed there).
/// Differs: none; every check is made (no holes, no overlap, exact length, no duplicate keys).
class SafetensorsFile : public TensorArchive {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);

  std::span<const std::byte> bytes(const TensorEntry& entry,
                                   std::vector<std::byte>& scratch) const override;
  /// A view of the values in the file. It is aligned to 8 bytes only if the program that wrote the
  /// file padded its header.
  std::span<const std::byte> bytes(const TensorEntry& entry) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  explicit SafetensorsFile(std::string path) : TensorArchive(std::move(path)) {}
  std::shared_ptr<const MappedFile> mapping_;
  std::span<const std::byte> data_;
  std::map<std::string, std::string> metadata_;
};

/// Writes a safetensors file whose tensors are known but not yet in memory: the header first, then
/// the values in the order of order(). The file appears whole or not at all.
class SafetensorsWriter {
 public:
  /// `tensors` has the names, types and shapes of all tensors; the writer computes their offsets.
  /// `metadata` gets {"format": "pt"} unless it has a format. Errors: IoError;
  /// std::invalid_argument for a name that occurs twice, a shape that overflows, or a type that
  /// safetensors does not have.
  SafetensorsWriter(const std::string& path, std::vector<TensorEntry> tensors,
                    std::map<std::string, std::string> metadata = {});

  /// The tensors as they will lie in the file: wide elements first, then by name.
  const std::vector<TensorEntry>& order() const { return tensors_; }
  /// Writes the next bytes of the values, in the order of order(). Errors: IoError.
  void write(std::span<const std::byte> bytes);
  /// Puts the file into place. Errors: IoError; std::logic_error if values are missing.
  void commit();

 private:
  AtomicFile file_;
  std::vector<TensorEntry> tensors_;
  std::uint64_t missing_bytes_ = 0;
};

/// A tensor to be written; `bytes` must stay valid until write_safetensors returns.
struct TensorToWrite {
  std::string name;
  ElementType type = ElementType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes tensors in memory with a SafetensorsWriter. Errors: those of SafetensorsWriter, and
/// std::invalid_argument if a tensor's bytes are more or fewer than its shape needs.
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       std::map<std::string, std::string> metadata = {});

}  // namespace lowbank
