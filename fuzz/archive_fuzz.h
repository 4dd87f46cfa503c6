#pragma once

#include "core/error.h"
#include "io/tensor_archive.h"
#include "io/value_stream.h"

namespace lowbank::fuzz {

/// Reads every tensor of an archive that opened, as `inspect --tensors` does.
inline void read_all(const TensorArchive& archive) {
  for (const auto& entry : archive.entries()) {
    try {
      stream_values(archive, entry, ElementType::kF32, [](std::span<const std::byte>) {});
    } catch (const Error&) {  // a type that has no float32 value
    }
  }
}

}  // namespace lowbank::fuzz
