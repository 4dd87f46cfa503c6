#include "io/element_type.h"

#include <algorithm>
#include <array>

namespace lowbank {
namespace {

struct TypeInfo {
  ElementType type;
  std::string_view name;
  std::int64_t block_elements;
  std::int64_t block_bytes;
};

// In the order of the enumerators. Names and sizes of the plain types: huggingface/safetensors
// README.md; of the blocks: ggml-org/llama.cpp gguf-py/gguf/constants.py (gguf 0.19.0).
constexpr std::array<TypeInfo, 27> kTypes = {{
    {ElementType::kBool, "BOOL", 1, 1},      {ElementType::kU8, "U8", 1, 1},
    {ElementType::kI8, "I8", 1, 1},          {ElementType::kI16, "I16", 1, 2},
    {ElementType::kU16, "U16", 1, 2},        {ElementType::kI32, "I32", 1, 4},
    {ElementType::kU32, "U32", 1, 4},        {ElementType::kI64, "I64", 1, 8},
    {ElementType::kU64, "U64", 1, 8},        {ElementType::kF16, "F16", 1, 2},
    {ElementType::kBf16, "BF16", 1, 2},      {ElementType::kF32, "F32", 1, 4},
    {ElementType::kF64, "F64", 1, 8},        {ElementType::kC64, "C64", 1, 8},
    {ElementType::kF8E4m3, "F8_E4M3", 1, 1}, {ElementType::kF8E5m2, "F8_E5M2", 1, 1},
    {ElementType::kQ40, "Q4_0", 32, 18},     {ElementType::kQ41, "Q4_1", 32, 20},
    {ElementType::kQ50, "Q5_0", 32, 22},     {ElementType::kQ51, "Q5_1", 32, 24},
    {ElementType::kQ80, "Q8_0", 32, 34},     {ElementType::kQ2K, "Q2_K", 256, 84},
    {ElementType::kQ3K, "Q3_K", 256, 110},   {ElementType::kQ4K, "Q4_K", 256, 144},
    {ElementType::kQ5K, "Q5_K", 256, 176},   {ElementType::kQ6K, "Q6_K", 256, 210},
    {ElementType::kMxfp4, "MXFP4", 32, 17},
}};

constexpr bool is_in_order() {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    if (static_cast<std::size_t>(kTypes[i].type) != i) return false;
  }
  return true;
}
static_assert(is_in_order());

const TypeInfo& type_info(ElementType type) { return kTypes[static_cast<std::size_t>(type)]; }

}  // namespace

std::string_view element_type_name(ElementType type) { return type_info(type).name; }

std::optional<ElementType> find_element_type(std::string_view name) {
  const auto* const found = std::find_if(kTypes.begin(), kTypes.end(),
                                         [&](const TypeInfo& info) { return info.name == name; });
  return found == kTypes.end() ? std::nullopt : std::optional(found->type);
}

std::int64_t block_elements(ElementType type) { return type_info(type).block_elements; }

std::int64_t block_bytes(ElementType type) { return type_info(type).block_bytes; }

bool is_float(ElementType type) {
  return type == ElementType::kF16 || type == ElementType::kBf16 || type == ElementType::kF32 ||
         type == ElementType::kF64;
}

std::optional<std::int64_t> count_elements(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t length : shape) {
    if (length < 0 || __builtin_mul_overflow(count, length, &count)) return std::nullopt;
  }
  return count;
}

std::optional<std::uint64_t> tensor_bytes(ElementType type, std::span<const std::int64_t> shape) {
  const auto count = count_elements(shape);
  const TypeInfo& info = type_info(type);
  if (!count) return std::nullopt;
  if (info.block_elements > 1 && (shape.empty() || shape.back() % info.block_elements != 0)) {
    return std::nullopt;
  }
  std::uint64_t bytes = 0;
  const auto blocks = static_cast<std::uint64_t>(*count / info.block_elements);
  if (__builtin_mul_overflow(blocks, static_cast<std::uint64_t>(info.block_bytes), &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace lowbank
