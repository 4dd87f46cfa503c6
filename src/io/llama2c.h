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

/// Shape of the model in a llama2.c file.
struct Llama2cConfig {
  std::int64_t dim = 0;
  std::int64_t hidden_dim = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_context = 0;
  bool has_own_head = false;  ///< false: the output layer is the token embedding

  std::int64_t head_dim() const { return dim / num_heads; }
};

/// A llama2.c checkpoint in float32, memory-mapped: the legacy form (version 0, seven int32 and
/// then tensors without names) or version 1 (magic "ak42"). Tensors have Hugging Face's names, and
/// bytes() returns them in Hugging Face's order of rows.
///
/// Source:  karpathy/llama2.c, run.c (read_checkpoint, memory_map_weights) and export.py
///          (legacy_export, version1_export).
/// Differs: the length of the file must be exactly the header's.
class Llama2cFile : public TensorArchive {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  static std::shared_ptr<const Llama2cFile> open(const std::string& path);

  const Llama2cConfig& config() const { return config_; }
  std::span<const std::byte> bytes(const TensorEntry& entry,
                                   std::vector<std::byte>& scratch) const override;

 private:
  explicit Llama2cFile(std::string path) : TensorArchive(std::move(path)) {}
  Llama2cConfig config_;
  std::shared_ptr<const MappedFile> mapping_;
};

/// True for a file with the magic of a newer llama2.c form, or whose first seven numbers describe a
/// legacy one of exactly this length.
bool looks_like_llama2c(std::span<const std::byte> file);

}  // namespace lowbank
