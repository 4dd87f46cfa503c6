#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// One key of a recipe: where its value is stored, what it means, and which values are allowed.
///
/// A config struct lists its fields once (`fields()`); the recipe reader, `resolved.json`, --help,
/// the command line, the fingerprint and the unknown-key check all walk that list. A template
/// visitor would do the same, but would be compiled once per visitor instead of once.
class Field {
 public:
  /// Where the value is stored. A list of fields only reads values; Settings sets them.
  using Target = std::variant<const bool*, const std::int64_t*, const double*, const std::string*,
                              const std::vector<double>*, const std::vector<std::string>*>;
  enum class Path { kNone, kInput, kOutput };

  Field(std::string key, Target value, std::string meaning)
      : name(std::move(key)), help(std::move(meaning)), target(value) {}
  /// A group: the recipe has an object under this name, and --set reaches its keys as name.key. The
  /// recipe may instead give a string, which names a JSON file with the group's keys (and `source`
  /// and `about`).
  Field(std::string key, std::vector<Field> group, std::string meaning)
      : name(std::move(key)), help(std::move(meaning)), children(std::move(group)) {}

  Field&& at_least(double bound) && {
    min = bound;
    return std::move(*this);
  }
  Field&& at_most(double bound) && {
    max = bound;
    return std::move(*this);
  }
  Field&& above(double bound) && {
    min = bound;
    min_is_open = true;
    return std::move(*this);
  }
  Field&& below(double bound) && {
    max = bound;
    max_is_open = true;
    return std::move(*this);
  }
  Field&& unit(std::string text) && {
    unit_name = std::move(text);
    return std::move(*this);
  }
  Field&& one_of(std::vector<std::string> values) && {
    choices = std::move(values);
    return std::move(*this);
  }
  /// A path that the stage reads. The content of the file or folder is part of the fingerprint;
  /// "@stage" names an earlier stage of the recipe. An empty path means that none was given.
  Field&& input() && {
    path = Path::kInput;
    return std::move(*this);
  }
  /// The stage may write below this input: a report lies in the folder of the runs that it shows.
  Field&& may_hold_the_output() && {
    may_hold_output = true;
    return std::move(*this);
  }
  Field&& output() && {
    path = Path::kOutput;
    return std::move(*this);
  }
  /// Hardware presets: names of files in configs/pim, or files of that form. `run` reads them
  /// before the first stage starts.
  Field&& presets() && {
    is_preset = true;
    return std::move(*this);
  }
  /// On the command line the flag takes every word up to the next flag: --system A B C.
  Field&& many() && {
    takes_many = true;
    return std::move(*this);
  }
  /// The placeholder for the value in --help, "DIR"; without this, --help shows the value's type.
  Field&& shown_as(std::string text) && {
    value_name = std::move(text);
    return std::move(*this);
  }
  Field&& required() && {
    is_required = true;
    return std::move(*this);
  }
  /// The value does not affect the result (threads, quiet), so the fingerprint leaves it out.
  Field&& no_effect() && {
    affects_result = false;
    return std::move(*this);
  }

  bool is_group() const { return !children.empty(); }
  /// A flag that takes no value: it is false if absent.
  bool is_switch() const { return !is_group() && std::holds_alternative<const bool*>(target); }
  /// "in (0, 1], steps" or "one of a, b" or "".
  std::string range_text() const;

  std::string name;
  std::string help;
  Target target;
  std::vector<Field> children;
  std::vector<std::string> choices;
  std::string unit_name;
  std::string value_name;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_is_open = false;
  bool max_is_open = false;
  Path path = Path::kNone;
  bool may_hold_output = false;
  bool is_preset = false;
  bool takes_many = false;
  bool is_required = false;
  bool affects_result = true;
};

using Fields = std::vector<Field>;

/// A struct whose values can be set by key. `fields()` points into the object itself.
struct Settings {
  virtual ~Settings() = default;
  virtual Fields fields() const = 0;
};

/// Sets values from a JSON object. The file of a group may also be next to the recipe, in
/// `recipe_folder`. Errors: ConfigError naming `source` and the full key for an unknown key (with a
/// suggestion), a wrong type, or a value out of range.
void apply_json(Settings& settings, const nlohmann::ordered_json& object, const std::string& source,
                const std::string& recipe_folder = {});

/// Sets one value from text, as --set and flags do; `key` may be dotted. Lists are comma-separated.
void apply_text(Settings& settings, const std::string& key, const std::string& text);

/// Replaces every input path that is not empty, files of presets among them, with what
/// `path_of(key, path)` returns.
void replace_inputs(
    Settings& settings,
    const std::function<std::string(const std::string& key, const std::string& path)>& path_of);

/// The current values of all fields.
nlohmann::ordered_json to_json(const Fields& fields);

/// Field for a dotted key, or nullptr.
const Field* find_field(const Fields& fields, const std::string& key);

/// The dotted keys of all fields that hold a value, those in groups included.
std::vector<std::string> field_keys(const Fields& fields);

/// Errors: ConfigError for the first required field that is still empty.
void check_required(const Fields& fields);

}  // namespace lowbank
