#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/mapped_file.h"
#include "io/tensor_archive.h"

namespace lowbank {

/// A state dict that torch.save wrote (pytorch_model.bin, .pt, .pth): the zip form of torch 1.6 and
/// later or the older stream, memory-mapped. The pickle inside is read, never run (see Pickle).
///
/// Tensors lie under "state_dict", "model" or "module", else at the top; what else a training
/// checkpoint holds is passed over. Tensors may share a storage, be views of one, transposed or
/// expanded: bytes() gathers them.
///
/// Source:  pytorch/pytorch torch/serialization.py (_save, _legacy_save), torch/_utils.py
///          (_rebuild_tensor_v2); torch 2.11.
/// Differs: big-endian, quantised, sparse and lazily conjugated tensors are refused; so is a tensor
///          that would take more memory than its file has bytes (an expanded one can claim any
///          size), and the tar archive of torch before 0.2.
class TorchFile : public TensorArchive {
 public:
  /// Errors: IoError naming the path, and the tensor or byte.
  static std::shared_ptr<const TorchFile> open(const std::string& path);

  std::span<const std::byte> bytes(const TensorEntry& entry,
                                   std::vector<std::byte>& scratch) const override;

 private:
  explicit TorchFile(std::string path) : TensorArchive(std::move(path)) {}
  friend class TorchFileReader;

  struct View {
    std::span<const std::byte> storage;
    std::uint64_t offset = 0;           // elements
    std::vector<std::int64_t> strides;  // elements
    bool is_contiguous = false;
  };
  std::shared_ptr<const MappedFile> mapping_;
  std::vector<View> views_;  // of entries(), in their order
};

/// True if a file that begins so is a zip archive, a legacy torch stream, or the tar archive before
/// it (which open() refuses by name).
bool looks_like_torch_file(std::span<const std::byte> head);

}  // namespace lowbank
