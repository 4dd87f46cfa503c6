#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank::pim {

/// A figure of a machine, with where it comes from.
struct Constant {
  std::string key;
  double value = 0;
  std::optional<double> reference = {};  ///< what the reference simulator has in its place
  std::string unit;
  std::string source;
  std::string uncertain;  ///< what is not sure about it; "" = nothing known
};

/// The kinds of machine the estimator knows, and their parts.
enum class SystemKind {
  kGpu,
  kHbmPim,  ///< a GPU whose memory computes; put together of a kGpu, a kMemory and a kPimUnit
  kRram,
  kCpu,      ///< measured by `lowbank bench --calibrate`
  kMemory,   ///< stacks of memory: geometry, timings
  kPimUnit,  ///< the processing units next to its banks
  kLink      ///< what joins GPUs, in place of a GPU's own links
};

/// One machine: configs/pim/<name>.json (docs/estimate.md lists the keys and units of each kind).
struct SystemPreset {
  std::string name;
  SystemKind kind = SystemKind::kGpu;
  std::string about;
  std::string file;                 ///< as the user can find it: "configs/pim/gpu-a100.json"
  std::string gpu;                  ///< kHbmPim: the preset of the GPU of the memory; else ""
  std::vector<Constant> constants;  ///< the keys of its kind (kHbmPim: of its parts), optional ones
                                    ///< where they are known

  /// Value of a key of the kind's list. Errors: std::logic_error for any other key (our bug).
  double value(std::string_view key) const;
  /// Value of an optional key; nothing if it is not known.
  std::optional<double> find(std::string_view key) const;
  /// The preset with the machine as built, or as the reference simulator has it.
  SystemPreset with_hardware(bool as_built) const;
};

/// "gpu", "hbm-pim", "rram", "cpu", "memory", "pim-unit" or "link".
std::string system_kind_name(SystemKind kind);

/// A preset by its name in configs/pim, or by the path of a file of that form (ends in .json).
/// Errors: ConfigError for an unknown name (with the presets there are), an unknown or missing key,
/// a constant without a source or with another unit; IoError for an unreadable file.
SystemPreset load_preset(const std::string& name_or_path);

/// load_preset over a text; `source` names it in errors.
SystemPreset preset_from_json(const std::string& text, const std::string& name,
                              const std::string& source);

/// The text of a preset file. `preset` is not of kind kHbmPim.
std::string preset_to_json(const SystemPreset& preset);

/// A GPU whose memory has processing units, from the presets of its parts. Errors: ConfigError for
/// a part of another kind.
SystemPreset combine_hbm_pim(std::string name, const SystemPreset& gpu, const SystemPreset& memory,
                             const SystemPreset& unit);

/// Puts a constant in the place that its kind has for it, over an older value.
/// Errors: std::logic_error for a key that the kind does not have (our bug).
void set_constant(SystemPreset& preset, Constant constant);

/// The unit that a kind's constant of that name has. Errors: as set_constant.
std::string constant_unit(SystemKind kind, std::string_view key);

/// The value nearest to `value` that a constant of that name may have: whole numbers rounded,
/// fractions at most 1, switches as they are. Errors: std::logic_error for a name no kind has.
double nearest_allowed(std::string_view key, double value);

/// Names of the whole machines in configs/pim (parts left out), sorted.
std::vector<std::string> system_names();

}  // namespace lowbank::pim
