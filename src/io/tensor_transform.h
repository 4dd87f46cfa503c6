#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/element_type.h"

namespace lowbank {

/// What has to be done to the values of a tensor besides giving it another name and shape.
struct TensorTransform {
  enum class Kind {
    kNone,
    /// Rows of a q or k projection from pairs of neighbours (2i, 2i + 1), which llama.cpp and
    /// llama2.c rotate, to halves of a head (i, i + head_dim / 2), which Hugging Face rotates.
    kPairsToHalves,
    kHalvesToPairs,  ///< the inverse
    kLogOfMinus,     ///< A_log = log(-a)
    kMinusExp,       ///< a = -exp(A_log)
  };
  Kind kind = Kind::kNone;
  std::int64_t num_heads = 0;  ///< for rows

  bool is_identity() const { return kind == Kind::kNone; }
};

/// Row-major values of any plain type after the transform; kLogOfMinus and kMinusExp want F32
/// (std::invalid_argument). `num_rows` is the first dimension, of a vector its length.
std::vector<std::byte> apply_transform(const TensorTransform& transform, ElementType type,
                                       std::int64_t num_rows, std::span<const std::byte> values);

}  // namespace lowbank
