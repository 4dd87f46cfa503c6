#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/atomic_file.h"
#include "io/tensor_archive.h"

namespace lowbank {

/// A metadata value; the C++ type decides the type in the file.
using GgufMetadata =
    std::variant<bool, std::uint32_t, std::uint64_t, std::int32_t, float, std::string,
                 std::vector<std::string>, std::vector<float>, std::vector<std::int32_t>>;
using GgufKeys = std::vector<std::pair<std::string, GgufMetadata>>;

/// Writes a GGUF file of version 3 whose tensors are known but not yet in memory: keys and tensor
/// list first, then the values in the order given. The file appears whole or not at all.
///
/// Source:  ggml-org/ggml docs/gguf.md. Alignment is the default, 32 bytes.
class GgufWriter {
 public:
  /// `tensors` has the names, types and shapes (outermost dimension first) of all tensors; the
  /// writer computes their offsets. Errors: IoError; std::invalid_argument for what GGUF cannot
  /// hold (a name of more than 64 bytes, more than 4 dimensions, a type without a ggml number, a
  /// shape that overflows).
  GgufWriter(const std::string& path, const GgufKeys& keys, std::vector<TensorEntry> tensors);

  const std::vector<TensorEntry>& order() const { return tensors_; }
  /// Writes the next bytes of the values, in the order of order(). One call must not cross from one
  /// tensor into the next. Errors: IoError.
  void write(std::span<const std::byte> bytes);
  /// Puts the file into place. Errors: IoError; std::logic_error if values are missing.
  void commit();

 private:
  void finish_tensor();

  AtomicFile file_;
  std::vector<TensorEntry> tensors_;
  std::size_t current_ = 0;          // tensor that is being written
  std::uint64_t written_bytes_ = 0;  // bytes of that tensor so far
};

}  // namespace lowbank
