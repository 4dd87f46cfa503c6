#pragma once

#include <cstdint>
#include <string>

#include "config/stage_config.h"

namespace lowbank {

struct GenerateConfig : StageConfig {
  std::string checkpoint;
  std::string prompt;
  std::string ids;
  std::int64_t max_new_tokens = 128;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;
  bool greedy = false;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  void validate() const override;
  /// The command writes a run folder only if `out` names one.
  std::string run_folder() const override { return common.out; }
};

}  // namespace lowbank
