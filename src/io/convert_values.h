#pragma once

#include <cstddef>
#include <span>

#include "io/element_type.h"

namespace lowbank {

/// Values of any type as float32, exactly where float32 can hold them, else rounded to nearest.
/// `stored` holds whole blocks; its length and out's must agree (std::invalid_argument).
///
/// Source:  block layouts from ggml-org/llama.cpp gguf-py/gguf/quants.py (gguf 0.19.0); OCP 8-bit
///          floating point (E4M3, E5M2) and MX formats.
void values_to_f32(ElementType type, std::span<const std::byte> stored, std::span<float> out);

/// float32 values in a type that has a writer: F32, F16, BF16 (round to nearest even), Q8_0, Q4_0
/// (bit-equal to gguf 0.19.0's quantisation; wants finite values). std::invalid_argument for
/// others.
void f32_to_values(ElementType type, std::span<const float> values, std::span<std::byte> out);

}  // namespace lowbank
