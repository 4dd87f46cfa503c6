#pragma once

#include <cstdint>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct ConvertConfig : StageConfig {
  std::string src;
  std::string tokenizer;
  std::string to;              ///< lowbank | gguf; "" = the name of the output decides
  std::string dtype = "keep";  ///< keep | f32 | bf16 | f16 | q8_0 | q4_0
  std::int64_t max_shard_bytes = 5'000'000'000;
  /// Whether a GGUF file is written: `to` decides, or else whether `out` ends in .gguf.
  bool to_gguf() const;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
