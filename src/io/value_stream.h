#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "io/tensor_archive.h"

namespace lowbank {

using ByteSink = std::function<void(std::span<const std::byte>)>;

/// Converts the values of one tensor to `type` and passes them to `sink` piece by piece, row-major.
/// Memory stays at a few MiB whatever the tensor's size, unless the file does not hold the values
/// in one piece. Pages of a mapped file are freed as soon as they have been read.
///
/// Errors: IoError for damaged files and for complex values that would have to become real.
void stream_values(const TensorArchive& archive, const TensorEntry& entry, ElementType type,
                   const ByteSink& sink);

/// The same for values in memory.
void stream_values(ElementType stored_type, std::span<const std::byte> stored, ElementType type,
                   const ByteSink& sink);

/// Position of the first value that is NaN or infinite, or -1. Only F16, BF16, F32 and F64 are
/// examined: for another type the result is -1, so convert such values to float32 first.
std::int64_t find_not_finite(ElementType type, std::span<const std::byte> values);

}  // namespace lowbank
