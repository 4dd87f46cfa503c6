#pragma once

#include <map>
#include <memory>
#include <string>

#include <torch/types.h>

#include "io/tensor_archive.h"

namespace lowbank {

/// The tensor of an entry of plain (not quantised) type, on the CPU. Never write into it: usually
/// it is a view of the mapped file, which it keeps open. It is a copy if the values are not aligned
/// in the file or not in one piece.
torch::Tensor view_tensor(const std::shared_ptr<const TensorArchive>& archive,
                          const TensorEntry& entry);

/// Copies of all tensors of a safetensors file, by name. Errors: IoError.
std::map<std::string, torch::Tensor> read_tensors(const std::string& path);

/// Whether every value is a number: neither infinity nor NaN. True for types that have neither.
bool all_finite(const torch::Tensor& values);

/// Writes tensors of any device and layout as a safetensors file, which no reader would take with
/// values that are not finite. Errors: IoError; ResourceError, before anything is written, naming
/// the first tensor with such a value.
void write_tensors(const std::string& path, const std::map<std::string, torch::Tensor>& tensors,
                   std::map<std::string, std::string> metadata = {});

}  // namespace lowbank
