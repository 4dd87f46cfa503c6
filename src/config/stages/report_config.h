#pragma once

#include <string>
#include <vector>

#include "config/stage_config.h"

namespace lowbank {

struct ReportConfig : StageConfig {
  std::vector<std::string> runs;
  std::string title;
  CommandInfo info() const override;
  Fields stage_fields() const override;
  /// The folder of tables and figures next to the page: `report.html` -> `report`.
  std::string run_folder() const override;
  std::string place_in_run(const std::string& folder, const std::string& id) const override;
  /// The HTML page itself.
  std::string page() const override;
};

}  // namespace lowbank
