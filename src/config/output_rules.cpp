#include "config/output_rules.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/opened_files.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

struct NamedPath {
  std::string key;
  std::string path;
  bool may_hold_output = false;
};

// Names of the files in which RunDir records a run.
constexpr std::string_view kRecords[] = {"resolved.json", "run.json",      "started.json",
                                         "metrics.json",  "metrics.jsonl", "log.txt"};

// The paths of all fields for which `is_wanted`, which takes the field and one of its values.
template <class IsWanted>
void add_paths(const Fields& fields, const IsWanted& is_wanted, const std::string& prefix,
               std::vector<NamedPath>& out) {
  for (const auto& field : fields) {
    const std::string key = prefix + field.name;
    const auto add = [&](const std::string& path) {
      if (!path.empty() && is_wanted(field, path)) {
        out.push_back({key, path, field.may_hold_output});
      }
    };
    if (field.is_group()) {
      add_paths(field.children, is_wanted, key + ".", out);
    } else if (const auto* const* text = std::get_if<const std::string*>(&field.target)) {
      add(**text);
    } else if (const auto* const* list =
                   std::get_if<const std::vector<std::string>*>(&field.target)) {
      for (const auto& path : **list) add(path);
    }
  }
}

bool is_input(const Field& field, const std::string& path) {
  return field.path == Field::Path::kInput || (field.is_preset && path.ends_with(".json"));
}

bool is_output(const Field& field, const std::string& /*path*/) {
  return field.path == Field::Path::kOutput;
}

fs::path place_of(const std::string& path) {
  std::error_code error;
  fs::path place = fs::weakly_canonical(fs::absolute(path, error), error);
  return place.has_filename() ? place : place.parent_path();  // without a slash at its end
}

}  // namespace

bool is_below(const fs::path& path, const fs::path& folder) {
  const auto relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != ".." && *relative.begin() != ".";
}

void check_is_not_read(const std::string& key, const std::string& path) {
  const fs::path place = place_of(path);
  for (const auto& file : opened_files()) {
    if (place_of(file) != place) continue;
    throw ConfigError(fmt::format(
        "{}: {} is the file {}, which the command reads; choose another place", key, path, file));
  }
}

void check_outputs(const StageConfig& config) {
  const Fields fields = config.fields();
  std::vector<NamedPath> inputs, outputs;
  add_paths(fields, is_input, "", inputs);
  add_paths(fields, is_output, "", outputs);
  const std::string run_folder = config.run_folder();
  for (const auto& path : {run_folder, config.page()}) {
    const bool is_new = !path.empty() && std::ranges::none_of(outputs, [&](const NamedPath& other) {
      return place_of(other.path) == place_of(path);
    });
    if (is_new) outputs.push_back({"out", path});
  }
  std::error_code error;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const NamedPath& output = outputs[i];
    const fs::path out = place_of(output.path);
    check_is_not_read(output.key, output.path);
    for (const auto& other : std::span(outputs).first(i)) {
      if (place_of(other.path) != out) continue;
      throw ConfigError(fmt::format("{}: {} is the same place as {}; choose another place",
                                    output.key, output.path, other.key));
    }
    if (!run_folder.empty() && out.parent_path() == place_of(run_folder) &&
        std::ranges::count(kRecords, out.filename().string()) > 0) {
      throw ConfigError(fmt::format("{}: {} is a record of the run; choose another place",
                                    output.key, output.path));
    }
    for (const auto& input : inputs) {
      if (!fs::exists(input.path, error)) continue;
      const bool is_folder = fs::is_directory(input.path, error);
      if (!is_folder && !fs::is_regular_file(input.path, error)) continue;
      const fs::path in = place_of(input.path);
      const char* where = nullptr;
      if (out == in) {
        where = "the same place as";
      } else if (is_folder && is_below(out, in) && !input.may_hold_output) {
        where = "inside";
      } else if (is_below(in, out)) {
        where = "above";
      }
      if (where != nullptr) {
        throw ConfigError(fmt::format("{}: {} is {} the input {} ({}); choose another place",
                                      output.key, output.path, where, input.path, input.key));
      }
    }
  }
}

}  // namespace lowbank
