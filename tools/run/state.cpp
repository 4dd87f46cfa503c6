#include "tools/run/state.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "config/run_dir.h"
#include "core/error.h"
#include "core/json.h"
#include "core/opened_files.h"

namespace lowbank {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

StageState stage_state(const StageConfig& config) {
  const std::string folder = config.run_folder();
  if (folder.empty()) return StageState::kFresh;  // a single file has no record of its stage
  forget_opened_files();  // what this process read before may have changed: it makes no result
  try {
    if (fs::exists(folder + "/run.json")) {
      const Json run = read_run_record(folder);
      const Json known = run.value("fingerprint", Json());
      if (same_fingerprint(stage_fingerprint(config, known), known) &&
          has_outputs(folder, config.page(), run.value("outputs", Json()))) {
        return StageState::kDone;
      }
    } else if (fs::exists(folder + "/started.json")) {
      const Fields fields = config.fields();
      const Json started = read_json(folder + "/started.json");
      const Json known = started.is_object() ? started.value("fingerprint", Json()) : Json();
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
