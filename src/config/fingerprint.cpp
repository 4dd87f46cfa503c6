#include "config/fingerprint.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sys/stat.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Files of a run folder that say when and how the stage ran, not what its result is.
bool describes_the_run(const std::string& name) {
  return name == "run.json" || name == "started.json" || name == "log.txt" ||
         name.ends_with(".tmp");
}

std::vector<std::string> files_below(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  if (!S_ISDIR(info.st_mode)) return {path};
  std::vector<std::string> files;
  for (auto it = fs::recursive_directory_iterator(path); it != fs::end(it); ++it) {
    const auto name = it->path().filename().string();
    if (it->is_directory() && (name == "state" || name.starts_with("."))) {
      it.disable_recursion_pending();  // no other stage reads a trainer's resume state
    } else if (it->is_regular_file() && !describes_the_run(name)) {
      files.push_back(it->path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

Json describe_file(const std::string& path, const Json& known) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  const auto mtime_ns = std::int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec;
  Json file = {{"size_bytes", info.st_size}, {"mtime_ns", mtime_ns}};
  if (known.contains(path) && known[path].value("size_bytes", std::int64_t{-1}) == info.st_size &&
      known[path].value("mtime_ns", std::int64_t{-1}) == mtime_ns) {
    file["hash"] = known[path].value("hash", "");
  } else {
    file["hash"] = hash_file(path);
  }
  return file;
}

void collect(const Fields& fields, Json& settings, std::vector<std::string>& inputs) {
  for (const auto& field : fields) {
    if (field.is_group()) {
      collect(field.children, settings[field.name], inputs);
      continue;
    }
    if (!field.affects_result) continue;
    if (field.path != Field::Path::kOutput) {
      std::visit([&](auto* target) { settings[field.name] = *target; }, field.target);
    }
    if (field.path == Field::Path::kInput) {
      std::visit(
          [&](auto* target) {
            if constexpr (std::is_same_v<decltype(target), const std::string*>) {
              if (!target->empty()) inputs.push_back(*target);
            } else if constexpr (std::is_same_v<decltype(target),
                                                const std::vector<std::string>*>) {
              inputs.insert(inputs.end(), target->begin(), target->end());
            }
          },
          field.target);
    }
  }
}

}  // namespace

std::string version() { return LOWBANK_VERSION; }

Json stage_fingerprint(const StageConfig& config, const Json& known) {
  Json settings = Json::object();
  std::vector<std::string> inputs;
  collect(config.fields(), settings, inputs);
  const Json known_inputs = known.contains("inputs") ? known["inputs"] : Json::object();
  Json files = Json::object();
  for (const auto& input : inputs) {
    for (const auto& path : files_below(input)) files[path] = describe_file(path, known_inputs);
  }
  return {{"settings", hash_bytes(dump_json(settings))}, {"version", version()}, {"inputs", files}};
}

Json describe_outputs(const std::string& folder) {
  Json sizes = Json::object();
  for (const auto& path : files_below(folder)) {
    sizes[fs::path(path).lexically_relative(folder).string()] = fs::file_size(path);
  }
  return sizes;
}

bool has_outputs(const std::string& folder, const Json& outputs) {
  if (!outputs.is_object()) return false;
  for (const auto& [name, size_bytes] : outputs.items()) {
    std::error_code error;
    if (fs::file_size(fs::path(folder) / name, error) != size_bytes || error) return false;
  }
  return true;
}

bool same_fingerprint(const Json& a, const Json& b) {
  if (!a.is_object() || !b.is_object()) return false;
  const auto essence = [](const Json& fingerprint) {
    Json out = {{"settings", fingerprint.value("settings", "")},
                {"version", fingerprint.value("version", "")}};
    if (fingerprint.contains("inputs")) {
      for (const auto& [path, file] : fingerprint["inputs"].items()) {
        out["inputs"][path] = file.value("hash", "");
      }
    }
    return out;
  };
  return essence(a) == essence(b);
}

}  // namespace lowbank
