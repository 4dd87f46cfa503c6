#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/field.h"

namespace lowbank {

/// The settings that every command has.
struct CommonConfig {
  std::int64_t seed = 0;       ///< of all random numbers; >= 0
  std::int64_t threads = 0;    ///< 0 = all cores
  std::string device = "cpu";  ///< cpu | cuda | cuda:i
  std::string dtype = "f32";   ///< type of the computation: f32 | bf16 | f16
  bool quiet = false;          ///< no notes, no progress bars
  bool json = false;           ///< metrics as one JSON object on the last line of standard output
  std::string out;             ///< run folder; "" = runs/<recipe name>/<stage>
};

/// What --help and the command line need to know about one command.
struct CommandInfo {
  std::string name;
  std::string purpose;  ///< one sentence
  std::string example;  ///< one command to copy
  std::vector<std::string> positionals =
      {};                        ///< keys that words without a flag set; the last may take many
  bool takes_recipe = true;      ///< a first word that ends in .json is a recipe
  bool has_run_dir = true;       ///< writes resolved.json, metrics.json, log.txt
  std::string output_file = {};  ///< `out` may also name this kind of file instead of a folder: the
                                 ///< stage then writes only that file ("workload.json")
  /// Keys whose smaller values take less memory: the hint when it runs out.
  std::vector<std::string> memory_keys = {};
  bool is_modelled = false;  ///< figures come from a model of hardware, not from measurement
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

  /// The value of `out` for a stage of a recipe that does not set it. `id` is the stage's name in
  /// the recipe, `folder` is the folder of the whole run.
  virtual std::string place_in_run(const std::string& folder, const std::string& id) const;

  /// Path of the HTML page that the stage writes; "" for stages that write none.
  virtual std::string page() const { return {}; }

  /// Path of the stage's run folder; "" if it writes none (`out` names a single file).
  virtual std::string run_folder() const;

  CommonConfig common;
  std::string recipe_name = "default";  ///< from the recipe's `name`, or its file name
  std::string recipe_file;  ///< where the values come from that were not typed; "" = none
  std::vector<std::string> typed_keys;  ///< keys whose values were typed
};

}  // namespace lowbank
