#pragma once

#include <cstdint>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct ConvertConfig : StageConfig {
  std::string src;
  std::string tokenizer;
  std::string to;              ///< lowbank | gguf; "" = by the name of the output
  std::string dtype = "keep";  ///< keep | f32 | bf16 | f16 | q8_0 | q4_0
  std::int64_t max_shard_bytes = 5'000'000'000;
  /// `to`, or what `out` says: a file name that ends in .gguf, or a folder.
  bool to_gguf() const;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
