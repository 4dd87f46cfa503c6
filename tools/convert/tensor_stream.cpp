#include "tools/convert/tensor_stream.h"

#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

void stream_tensor(const TensorArchive& archive, const MappedTensor& tensor, ElementType type,
                   const ByteSink& sink) {
  if (tensor.entry == nullptr) {
    sink(
        std::vector<std::byte>(static_cast<std::size_t>(tensor_bytes(type, tensor.shape).value())));
    return;
  }
  const TensorEntry& entry = *tensor.entry;
  std::int64_t position = 0;
  const auto refuse = [&](std::int64_t index, const std::string& what) {
    throw IoError(fmt::format("{}: value {} of '{}' {}", archive.path(), position + index,
                              tensor.name, what));
  };
  // Checks the values that are written, not those that are read, which also finds values that are
  // too large for the type.
  const auto check = [&](ElementType checked_type, std::span<const std::byte> piece) {
    if (const auto index = find_not_finite(checked_type, piece); index >= 0) {
      refuse(index, is_float(entry.type) && checked_type != entry.type
                        ? fmt::format("is not finite as {}: the source's is NaN, infinite or too "
                                      "large for it (bf16 has the range of f32)",
                                      element_type_name(checked_type))
                        : "is not finite (NaN or infinity): the file is damaged");
    }
    position += static_cast<std::int64_t>(piece.size()) / block_bytes(checked_type);
  };
  const auto checked_sink = [&](std::span<const std::byte> piece) {
    check(type, piece);
    sink(piece);
  };
  // A quantised block cannot hold NaN, so the values are checked before they are quantised.
  const auto quantizing_sink = [&](std::span<const std::byte> piece) {
    check(ElementType::kF32, piece);
    stream_values(ElementType::kF32, piece, type, sink);
  };
  const bool quantizes = is_quantized(type);
  const ElementType wanted = quantizes ? ElementType::kF32 : type;
  const ByteSink last = quantizes ? ByteSink(quantizing_sink) : ByteSink(checked_sink);
  if (tensor.transform.is_identity()) {
    stream_values(archive, entry, wanted, last);
    return;
  }
  // Rows are moved in the stored type; exponentials and logarithms are computed in float32.
  using Kind = TensorTransform::Kind;
  const bool moves_rows = tensor.transform.kind == Kind::kPairsToHalves ||
                          tensor.transform.kind == Kind::kHalvesToPairs;
  const ElementType plain =
      moves_rows && !is_quantized(entry.type) ? entry.type : ElementType::kF32;
  std::vector<std::byte> values;
  values.reserve(static_cast<std::size_t>(tensor_bytes(plain, entry.shape).value()));
  stream_values(archive, entry, plain, [&](std::span<const std::byte> piece) {
    values.insert(values.end(), piece.begin(), piece.end());
  });
  values = apply_transform(tensor.transform, plain, entry.shape.front(), values);
  stream_values(plain, values, wanted, last);
}

}  // namespace lowbank
