#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/element_type.h"

namespace lowbank {

/// How a conversion changes the values of a tensor, apart from its name and shape.
struct TensorTransform {
  enum class Kind {
    kNone,
    /// Reorders the rows of a q or k projection: llama.cpp and llama2.c rotate neighbouring rows
    /// (2i, 2i + 1), Hugging Face rotates rows of the two halves of a head (i, i + head_dim / 2).
    kPairsToHalves,
    kHalvesToPairs,  ///< the inverse
    kLogOfMinus,     ///< A_log = log(-a)
    kMinusExp,       ///< a = -exp(A_log)
  };
  Kind kind = Kind::kNone;
  std::int64_t num_heads = 0;  ///< for the two kinds that reorder rows

  bool is_identity() const { return kind == Kind::kNone; }
};

/// The row-major values of any plain type after the transform. `num_rows` is the first dimension
/// (of a vector: its length). Errors: std::invalid_argument if kLogOfMinus or kMinusExp get another
/// type than F32.
std::vector<std::byte> apply_transform(const TensorTransform& transform, ElementType type,
                                       std::int64_t num_rows, std::span<const std::byte> values);

}  // namespace lowbank
