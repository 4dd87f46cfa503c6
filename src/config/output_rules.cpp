#include "config/output_rules.h"

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

struct NamedPath {
  std::string key;
  std::string path;
  bool may_hold_output = false;
};

void add_paths(const Fields& fields, Field::Path kind, const std::string& prefix,
               std::vector<NamedPath>& out) {
  for (const auto& field : fields) {
    const std::string key = prefix + field.name;
    if (field.is_group()) {
      add_paths(field.children, kind, key + ".", out);
    } else if (field.path == kind) {
      if (const auto* const* text = std::get_if<const std::string*>(&field.target)) {
        out.push_back({key, **text, field.may_hold_output});
      } else if (const auto* const* list =
                     std::get_if<const std::vector<std::string>*>(&field.target)) {
        for (const auto& path : **list) out.push_back({key, path, field.may_hold_output});
      }
    }
  }
}

fs::path place_of(const std::string& path) {
  std::error_code error;
  fs::path place = fs::weakly_canonical(fs::absolute(path, error), error);
  return place.has_filename() ? place : place.parent_path();  // without a slash at its end
}

bool is_below(const fs::path& path, const fs::path& folder) {
  const auto relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != ".." && *relative.begin() != ".";
}

}  // namespace

void check_outputs(const StageConfig& config) {
  const Fields fields = config.fields();
  std::vector<NamedPath> inputs, outputs;
  add_paths(fields, Field::Path::kInput, "", inputs);
  add_paths(fields, Field::Path::kOutput, "", outputs);
  if (const std::string folder = config.run_folder(); !folder.empty()) {
    outputs.push_back({"out", folder});
  }
  std::error_code error;
  for (const auto& output : outputs) {
    if (output.path.empty()) continue;
    const fs::path out = place_of(output.path);
    for (const auto& input : inputs) {
      if (input.path.empty() || !fs::exists(input.path, error)) continue;
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
