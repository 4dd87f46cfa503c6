#pragma once

#include <map>
#include <memory>
#include <string>

#include <torch/types.h>

#include "io/tensor_archive.h"

namespace lowbank {

/// The tensor of an entry of plain (not quantised) type, on the CPU. Usually a view of the mapped
/// file that keeps it open (a copy where the file is not aligned or holds it in pieces): never
/// write into it.
torch::Tensor view_tensor(const std::shared_ptr<const TensorArchive>& archive,
                          const TensorEntry& entry);

/// All tensors of a safetensors file, as copies of their own. Errors: IoError.
std::map<std::string, torch::Tensor> read_tensors(const std::string& path);

/// Writes tensors of any device and layout. Errors: IoError.
void write_tensors(const std::string& path, const std::map<std::string, torch::Tensor>& tensors,
                   std::map<std::string, std::string> metadata = {});

}  // namespace lowbank
