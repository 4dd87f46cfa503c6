#include "tools/run/state.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/error.h"
#include "core/json.h"

namespace lowbank {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

StageState stage_state(const StageConfig& config) {
  const std::string folder = config.run_folder();
  if (folder.empty()) return StageState::kFresh;  // a single file has no record of its stage
  try {
    if (fs::exists(folder + "/run.json")) {
      const Json run = read_json(folder + "/run.json");
      const Json known = run.value("fingerprint", Json::object());
      const std::string page = config.page();
      if (same_fingerprint(stage_fingerprint(config, known), known) &&
          has_outputs(folder, run.value("outputs", Json())) && (page.empty() || fs::exists(page))) {
        return StageState::kDone;
      }
    } else if (fs::exists(folder + "/started.json")) {
      const Fields fields = config.fields();
      const Json known = read_json(folder + "/started.json").value("fingerprint", Json::object());
      if (find_field(fields, "resume") != nullptr &&
          same_fingerprint(stage_fingerprint(config, known), known)) {
        return StageState::kResume;
      }
    }
  } catch (const Error&) {
    // The record is damaged, or an input is missing: the stage runs again and reports what is
    // wrong.
  }
  return StageState::kFresh;
}

}  // namespace lowbank
