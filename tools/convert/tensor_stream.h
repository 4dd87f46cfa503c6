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
  const TensorEntry* entry = nullptr;  ///< of the source's archive
  std::string name;                    ///< Hugging Face's
  std::vector<std::int64_t> shape;     ///< after the transform
  TensorTransform transform;
};

/// Reads one tensor, transforms it, turns its values into `type`, and hands the bytes on piece by
/// piece: memory stays at a few MiB, or at the tensor's size where a transform moves rows or the
/// file holds it in pieces. Pages of the mapped source are given back behind it.
///
/// Errors: IoError naming the tensor for values that are not finite, in the source or in `type`
/// (beyond what float16 can hold), and for damaged files.
void stream_tensor(const TensorArchive& archive, const MappedTensor& tensor, ElementType type,
                   const ByteSink& sink);

}  // namespace lowbank
