#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/mapped_file.h"
#include "io/tensor_archive.h"

namespace lowbank {

/// Types of GGUF metadata values, numbered as in the file.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12
};

/// ggml's number of a tensor type; empty for types that GGUF does not have.
std::optional<std::uint32_t> ggml_type_number(ElementType type);

/// A GGUF file of version 2 or 3, memory-mapped. The parts of a split file
/// (NAME-00001-of-00003.gguf and so on) are one model: opening any of them opens all, with the keys
/// of the first.
///
/// Source:  ggml-org/ggml docs/gguf.md.
/// Differs: tensors are listed with torch's order of dimensions (outermost first); arrays inside
///          arrays are checked, skipped and cannot be read (no known key has them).
class GgufFile : public TensorArchive {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  static std::shared_ptr<const GgufFile> open(const std::string& path);

  std::span<const std::byte> bytes(const TensorEntry& entry,
                                   std::vector<std::byte>& scratch) const override;

  bool has(std::string_view key) const;
  std::vector<std::string> keys() const;
  /// The values of metadata keys. The forms with `otherwise` return that value if the key is
  /// absent.
  /// Errors: IoError naming file and key if the value is absent or of another kind.
  std::int64_t integer(std::string_view key) const;  // any integer type that fits; not bool
  std::int64_t integer(std::string_view key, std::int64_t otherwise) const;
  double number(std::string_view key) const;  // any float or integer type
  double number(std::string_view key, double otherwise) const;
  bool flag(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key) const;  // the bytes as stored, which may not be UTF-8
  std::string text(std::string_view key, const std::string& otherwise) const;
  std::vector<std::string> texts(std::string_view key) const;      // array of strings
  std::vector<std::int64_t> integers(std::string_view key) const;  // array of any integer type
  std::vector<float> numbers(std::string_view key) const;          // array of f32 or f64

 private:
  /// Where a checked value lies in the mapping.
  struct Value {
    GgufType type = GgufType::kU8;
    GgufType element_type = GgufType::kU8;  // of an array
    std::uint64_t count = 1;                // elements of an array
    std::span<const std::byte> bytes;       // of the value, or of all elements of an array
  };
  /// The data of one file of a model.
  struct Part {
    std::shared_ptr<const MappedFile> mapping;
    std::span<const std::byte> data;
    std::uint64_t begin = 0;  // where the data begins in that of all parts, one after the other
  };
  explicit GgufFile(std::string path) : TensorArchive(std::move(path)) {}
  static std::shared_ptr<const GgufFile> open_parts(const GgufFile& one, std::int64_t count);
  /// Reads a file as it is; its entries are returned, and count from its own data.
  std::vector<TensorEntry> read(const std::string& path);
  const Value* find_value(std::string_view key) const;
  const Value& value(std::string_view key) const;
  const Value& array(std::string_view key, std::string_view wanted) const;

  std::vector<Part> parts_;
  std::map<std::string, Value, std::less<>> metadata_;
};

}  // namespace lowbank
