#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace lowbank {

/// How a file stores the values of a tensor: single elements, or blocks of quantised ones that
/// share scales (ggml's types; docs/convert.md).
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
  kC64,
  kF8E4m3,
  kF8E5m2,
  kQ40,
  kQ41,
  kQ50,
  kQ51,
  kQ80,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kMxfp4
};

/// "F32", "BF16", "Q4_K", ...: safetensors' and ggml's own names.
std::string_view element_type_name(ElementType type);
/// The type with this name; nothing if there is none.
std::optional<ElementType> find_element_type(std::string_view name);

/// Number of values in one block; 1 for plain types.
std::int64_t block_elements(ElementType type);
/// Bytes of one block, or of one element for plain types.
std::int64_t block_bytes(ElementType type);
inline bool is_quantized(ElementType type) { return block_elements(type) > 1; }
/// True for F16, BF16, F32 and F64.
bool is_float(ElementType type);

/// Number of values of a tensor, and of bytes that they take. Nothing if a length is negative, the
/// product overflows, or the last dimension is not a multiple of the block.
std::optional<std::int64_t> count_elements(std::span<const std::int64_t> shape);
std::optional<std::uint64_t> tensor_bytes(ElementType type, std::span<const std::int64_t> shape);

}  // namespace lowbank
