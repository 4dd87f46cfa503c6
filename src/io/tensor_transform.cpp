#include "io/tensor_transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

namespace lowbank {
namespace {

void move_rows(std::span<const std::byte> in, std::span<std::byte> out, std::int64_t num_heads,
               std::int64_t num_rows, bool to_halves) {
  if (num_heads < 1 || num_rows % (2 * num_heads) != 0) {
    throw std::invalid_argument(
        fmt::format("apply_transform: {} rows are not {} heads of pairs", num_rows, num_heads));
  }
  const auto row_bytes = in.size() / static_cast<std::size_t>(num_rows);
  const std::int64_t head_dim = num_rows / num_heads;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t head = row / head_dim, pair = row % head_dim / 2, part = row % 2;
    const std::int64_t half = head * head_dim + part * (head_dim / 2) + pair;
    const auto from = static_cast<std::size_t>(to_halves ? row : half);
    const auto to = static_cast<std::size_t>(to_halves ? half : row);
    if (row_bytes > 0) std::memcpy(&out[to * row_bytes], &in[from * row_bytes], row_bytes);
  }
}

}  // namespace

std::vector<std::byte> apply_transform(const TensorTransform& transform, ElementType type,
                                       std::int64_t num_rows, std::span<const std::byte> values) {
  std::vector<std::byte> out(values.size());
  using Kind = TensorTransform::Kind;
  switch (transform.kind) {
    case Kind::kNone:
      std::copy(values.begin(), values.end(), out.begin());
      return out;
    case Kind::kPairsToHalves:
    case Kind::kHalvesToPairs:
      move_rows(values, out, transform.num_heads, num_rows, transform.kind == Kind::kPairsToHalves);
      return out;
    case Kind::kLogOfMinus:
    case Kind::kMinusExp:
      if (type != ElementType::kF32) {
        throw std::invalid_argument("apply_transform: exponents want F32");
      }
      for (std::size_t i = 0; i + sizeof(float) <= values.size(); i += sizeof(float)) {
        float value;
        std::memcpy(&value, &values[i], sizeof value);
        value = transform.kind == Kind::kMinusExp ? -std::exp(value) : std::log(-value);
        std::memcpy(&out[i], &value, sizeof value);
      }
      return out;
  }
  throw std::logic_error("apply_transform: unknown kind");
}

}  // namespace lowbank
