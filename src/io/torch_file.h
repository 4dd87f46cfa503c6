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
/// The tensors are those under "state_dict", "model" or "module", else those at the top; everything
/// else in a training checkpoint is ignored. Tensors may share a storage, be views of one,
/// transposed or expanded: bytes() gathers their values.
///
/// Source:  pytorch/pytorch torch/serialization.py (_save, _legacy_save), torch/_utils.py
///          (_rebuild_tensor_v2); torch 2.11.
/// Differs: big-endian, quantised, sparse and lazily conjugated tensors are refused; so are tensors
///          that would take more memory than their file has bytes (an expanded tensor can claim any
///          size), and the tar archives of torch before 0.2.
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
  std::vector<View> views_;  // one for each of entries(), in their order
};

/// True if a file that begins with `head` is a zip archive, a legacy torch stream, or a tar archive
/// of torch before 0.2 (which open() refuses with an error of its own).
bool looks_like_torch_file(std::span<const std::byte> head);

}  // namespace lowbank
