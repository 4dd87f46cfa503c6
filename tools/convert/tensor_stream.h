#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tensor_archive.h"
#include "io/tensor_transform.h"
#include "io/value_stream.h"

namespace lowbank {

/// One tensor of a conversion's result and where it comes from.
struct MappedTensor {
  const TensorEntry* entry = nullptr;  ///< of the source's archive; nullptr: all values are zero
  std::string name;                    ///< Hugging Face's
  std::vector<std::int64_t> shape;     ///< after the transform
  TensorTransform transform;
  ElementType stored_type() const { return entry == nullptr ? ElementType::kF32 : entry->type; }
};

/// Reads one tensor, transforms it, converts its values to `type`, and passes the bytes to `sink`
/// piece by piece. Memory stays at a few MiB, or at the tensor's size if a transform moves rows or
/// the file holds the tensor in pieces. Pages of the mapped source are freed as soon as they have
/// been read.
///
/// Errors: IoError naming the tensor for values that are not finite, in the source or in `type`
/// (beyond what float16 can hold), and for damaged files.
void stream_tensor(const TensorArchive& archive, const MappedTensor& tensor, ElementType type,
                   const ByteSink& sink);

}  // namespace lowbank
