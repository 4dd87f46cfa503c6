#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// What every command takes.
struct CommonConfig {
  std::int64_t seed = 0;       ///< of every random draw; >= 0
  std::int64_t threads = 0;    ///< 0 = all cores
  std::string device = "cpu";  ///< cpu | cuda | cuda:i
  std::string dtype = "f32";   ///< f32 | bf16 | f16: computation
  bool quiet = false;          ///< no notes, no progress bars
  bool json = false;           ///< metrics as one JSON object on the last line of standard output
  std::string out;             ///< run folder; "" = runs/<recipe name>/<stage>
};

/// Name, purpose and words of one command, for --help and the command line.
struct CommandInfo {
  std::string name;
  std::string purpose;  ///< one sentence
  std::string example;  ///< one command to copy
  std::vector<std::string> positionals =
      {};                        ///< keys set by words without a flag; the last may be many
  bool takes_recipe = true;      ///< a first word ending in .json is a recipe
  bool has_run_dir = true;       ///< writes resolved.json, metrics.json, log.txt
  std::string output_file = {};  ///< `out` may also name this kind of file instead of a folder: the
                                 ///< stage then writes only that file ("workload.json")
  bool is_modelled = false;      ///< figures come from a model of hardware, not from measurement
};

/// Settings of one stage: a plain struct of defaults and its one list of fields.
struct StageConfig : Settings {
  virtual CommandInfo info() const = 0;
  /// The stage's own fields; they point into this object.
  virtual Fields stage_fields() const = 0;
  /// Checks that involve more than one field. Errors: ConfigError.
  virtual void validate() const {}

  /// Own fields, then the common ones.
  Fields fields() const final;

  /// `out` of a stage that a recipe of several stages does not place: `id` is the stage's name in the
  /// recipe, `folder` that of the whole run.
  virtual std::string place_in_run(const std::string& folder, const std::string& id) const;

  /// The page for people that the stage writes; "" for most stages.
  virtual std::string page() const { return {}; }

  /// Where the stage's run folder lies; "" when it writes none (`out` names a single file).
  virtual std::string run_folder() const;

  CommonConfig common;
  std::string recipe_name = "default";  ///< from the recipe's `name`, or its file name
};

}  // namespace lowbank
