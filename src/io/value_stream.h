#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "io/tensor_archive.h"

namespace lowbank {

using ByteSink = std::function<void(std::span<const std::byte>)>;

/// The values of one tensor as `type`, row-major, handed on piece by piece, so that memory stays at
/// a few MiB whatever the tensor's size (unless the file holds it in pieces). Pages of a mapped
/// file are given back behind it.
///
/// Errors: IoError for damaged files and for complex values that would have to become real.
void stream_values(const TensorArchive& archive, const TensorEntry& entry, ElementType type,
                   const ByteSink& sink);

/// stream_values over values in memory.
void stream_values(ElementType stored_type, std::span<const std::byte> stored, ElementType type,
                   const ByteSink& sink);

/// Position of the first value that is NaN or infinite, or -1. Types without such values have none;
/// of quantised ones call it on the values they stand for.
std::int64_t find_not_finite(ElementType type, std::span<const std::byte> values);

}  // namespace lowbank
