#pragma once

#include <cstdint>
#include <string>

#include "config/parts/perplexity_config.h"
#include "config/stage_config.h"

namespace lowbank {

struct EvaluateConfig : StageConfig {
  std::string checkpoint;
  std::string task = "perplexity";  ///< perplexity | sts-b
  std::string pooling = "auto";     ///< sts-b: how a sentence's hidden states become one vector
  std::int64_t limit = 0;           ///< sts-b: use the first `limit` examples; 0 = all
  std::int64_t sentence_batch_size = 32;  ///< sts-b: no effect on the figures
  PerplexityConfig perplexity;            ///< sts-b uses its `data`
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
};

}  // namespace lowbank
