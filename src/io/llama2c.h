#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

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

/// One tensor of a llama2.c file under its Hugging Face name.
struct Llama2cTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::span<const float> values;    ///< as stored; of q and k see rope_half_split
  std::int64_t num_rope_heads = 0;  ///< > 0: rows are rotated in interleaved pairs
};

/// A legacy (version 0) llama2.c checkpoint, memory-mapped read-only: seven int32, then float32
/// tensors without names.
///
/// Source:  karpathy/llama2.c, run.c (read_checkpoint, memory_map_weights) and export.py
///          (legacy_export).
/// Differs: the length of the file must be exactly the header's.
class Llama2cFile {
 public:
  /// Errors: IoError naming the path and what is wrong where.
  static std::shared_ptr<const Llama2cFile> open(const std::string& path);

  const Llama2cConfig& config() const { return config_; }
  /// Every tensor of the model; views stay valid as long as the object.
  const std::vector<Llama2cTensor>& tensors() const { return tensors_; }

 private:
  Llama2cFile() = default;
  Llama2cConfig config_;
  std::shared_ptr<const void> mapping_;
  std::vector<Llama2cTensor> tensors_;
};

/// Rows of a q or k projection from llama2.c's rotation of neighbours (2i, 2i + 1) to Hugging
/// Face's of halves (i, i + head_dim / 2): per head, row 2i + j moves to row j * head_dim / 2 + i.
///
/// Shapes:  [num_heads * head_dim, in] -> the same.
std::vector<float> rope_half_split(std::span<const float> values, std::int64_t num_heads,
                                   std::int64_t head_dim);

}  // namespace lowbank
