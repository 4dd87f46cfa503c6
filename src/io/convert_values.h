#pragma once

#include <cstddef>
#include <span>

#include "io/element_type.h"

namespace lowbank {

/// Converts values of any type to float32: exactly if float32 can hold them, else rounded to
/// nearest. `stored` holds whole blocks; its length must fit that of `out` (else
/// std::invalid_argument).
///
/// Source:  block layouts from ggml-org/llama.cpp gguf-py/gguf/quants.py (gguf 0.19.0); OCP 8-bit
///          floating point (E4M3, E5M2) and MX formats.
void values_to_f32(ElementType type, std::span<const std::byte> stored, std::span<float> out);

/// Converts float32 values to F32, F16 or BF16 (rounded to nearest, ties to even), Q8_0 or Q4_0
/// (the same bits as gguf 0.19.0's quantisation; the values must be finite).
/// Errors: std::invalid_argument for another type.
void f32_to_values(ElementType type, std::span<const float> values, std::span<std::byte> out);

}  // namespace lowbank
