#include "nn/tensor_file.h"

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "core/error.h"
#include "io/safetensors.h"
#include "io/value_stream.h"

namespace lowbank {
namespace {

constexpr std::pair<ElementType, c10::ScalarType> kScalarTypes[] = {
    {ElementType::kBool, c10::kBool},
    {ElementType::kU8, c10::kByte},
    {ElementType::kI8, c10::kChar},
    {ElementType::kI16, c10::kShort},
    {ElementType::kU16, c10::ScalarType::UInt16},
    {ElementType::kI32, c10::kInt},
    {ElementType::kU32, c10::ScalarType::UInt32},
    {ElementType::kI64, c10::kLong},
    {ElementType::kU64, c10::ScalarType::UInt64},
    {ElementType::kF16, c10::kHalf},
    {ElementType::kBf16, c10::kBFloat16},
    {ElementType::kF32, c10::kFloat},
    {ElementType::kF64, c10::kDouble},
    {ElementType::kC64, c10::kComplexFloat},
    {ElementType::kF8E4m3, c10::ScalarType::Float8_e4m3fn},
    {ElementType::kF8E5m2, c10::ScalarType::Float8_e5m2}};

c10::ScalarType scalar_type(ElementType type) {
  for (const auto& [element, scalar] : kScalarTypes) {
    if (element == type) return scalar;
  }
  TORCH_INTERNAL_ASSERT(false, "element type without a scalar type");
}

ElementType element_type(c10::ScalarType type) {
  for (const auto& [element, scalar] : kScalarTypes) {
    if (scalar == type) return element;
  }
  TORCH_CHECK(false, "write_tensors: safetensors has no type for ", type);
}

}  // namespace

torch::Tensor view_tensor(const std::shared_ptr<const TensorArchive>& archive,
                          const TensorEntry& entry) {
  const auto options = at::TensorOptions(scalar_type(entry.type));
  std::vector<std::byte> scratch;
  const auto bytes = archive->bytes(entry, scratch);
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  if (bytes.empty() || bytes.data() == scratch.data() ||
      address % static_cast<std::uintptr_t>(block_bytes(entry.type)) != 0) {
    auto tensor = at::empty(entry.shape, options);
    if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    return tensor;
  }
  // The deleter only drops the reference that keeps the file mapped.
  return at::from_blob(
      const_cast<std::byte*>(bytes.data()), entry.shape,
      [owner = archive](void*) mutable { owner.reset(); }, options);
}

std::map<std::string, torch::Tensor> read_tensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& entry : file->entries()) {
    tensors.emplace(entry.name, view_tensor(file, entry).clone());
  }
  return tensors;
}

// Bit by bit and in place: ATen's reductions of half types make a float copy of the whole tensor.
bool all_finite(const torch::Tensor& values) {
  if (!values.is_floating_point()) return true;
  const auto plain = values.detach().cpu().contiguous();
  const ElementType type = element_type(plain.scalar_type());
  if (type == ElementType::kF8E4m3 || type == ElementType::kF8E5m2) {
    return all_finite(plain.to(c10::kFloat));
  }
  return find_not_finite(
             type, {static_cast<const std::byte*>(plain.const_data_ptr()), plain.nbytes()}) < 0;
}

void write_tensors(const std::string& path, const std::map<std::string, torch::Tensor>& tensors,
                   std::map<std::string, std::string> metadata) {
  std::vector<torch::Tensor> plain;  // keeps the copies alive while they are written
  std::vector<TensorToWrite> entries;
  for (const auto& [name, tensor] : tensors) {
    plain.push_back(tensor.detach().cpu().contiguous());
    const auto& values = plain.back();
    if (!all_finite(values)) {
      throw ResourceError(fmt::format(
          "{}: not written: '{}' has values that are not finite (NaN or infinity)", path, name));
    }
    entries.push_back(
        {.name = name,
         .type = element_type(values.scalar_type()),
         .shape = values.sizes().vec(),
         .bytes = {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}});
  }
  write_safetensors(path, entries, std::move(metadata));
}

}  // namespace lowbank
