#include "config/fingerprint.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <sys/stat.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/folder_lock.h"
#include "config/output_rules.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/opened_files.h"
#include "core/resources.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The prefix of a shipped file's name in a record, which find_resource then completes.
constexpr std::string_view kInstallation = "installation:";

// Files of a run folder that say when and how the stage ran, not what its result is.
bool describes_the_run(const std::string& name) {
  return name == "run.json" || name == "started.json" || name == "log.txt" || name == kLockFile ||
         name.ends_with(".tmp");
}

IoError cannot_look_into(const std::string& path, const std::error_code& error) {
  return IoError(path + ": cannot look into the folder: " + error.message());
}

std::vector<std::string> files_below(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  if (!S_ISDIR(info.st_mode)) return {path};
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(path, error); !error && it != fs::end(it);
       it.increment(error)) {
    const auto name = it->path().filename().string();
    std::error_code ignored;  // what vanished meanwhile is neither folder nor file
    if (it->is_directory(ignored) && (name == "state" || name.starts_with("."))) {
      it.disable_recursion_pending();  // no other stage reads a trainer's resume state
    } else if (it->is_regular_file(ignored) && !describes_the_run(name)) {
      files.push_back(it->path().string());
    }
  }
  if (error) throw cannot_look_into(path, error);
  std::sort(files.begin(), files.end());
  return files;
}

// A record comes from a file that anything may have happened to: what is not of the right type is
// as good as absent.
const Json& member(const Json& object, std::string_view key) {
  static const Json kAbsent;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : kAbsent;
}

std::string text_member(const Json& object, std::string_view key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

// In place of the description of a file: the stage looked for it, and there was none.
Json no_file() { return {{"missing", true}}; }

// Size, time and hash of a file; the hash is that of `known`, which describes it at an earlier time,
// if nothing has changed since. The time is that of the last change of content or metadata: unlike
// the time of writing, no program can set it back.
Json describe_content(const std::string& path, const Json& known) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) throw IoError(errno_message(path, "cannot open", errno));
  const auto ctime_ns = std::int64_t{info.st_ctim.tv_sec} * 1000000000 + info.st_ctim.tv_nsec;
  std::string hash;
  if (member(known, "size_bytes") == info.st_size && member(known, "ctime_ns") == ctime_ns) {
    hash = text_member(known, "hash");
  }
  if (hash.empty()) hash = hash_file(path);
  return {{"size_bytes", info.st_size}, {"ctime_ns", ctime_ns}, {"hash", hash}};
}

// A file that was written while the stage worked is recorded without a hash: it is never the same
// file again, because nobody knows which of its contents the result is from.
Json describe_file(const std::string& name, const Json& known_files) {
  const bool is_shipped = name.starts_with(kInstallation);
  const std::string path = is_shipped ? find_resource(name.substr(kInstallation.size())) : name;
  const Json& known = member(known_files, name);
  std::error_code error;
  const bool exists = fs::exists(path, error);
  if (!exists && known == no_file()) return no_file();
  if (exists && has_changed_since_opened(path)) return {{"changed", true}};
  // Another installation has another file of this name.
  return describe_content(path, is_shipped ? Json() : known);
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
  const Json& known_files = member(known, "inputs");
  Json files = Json::object();
  for (const auto& input : inputs) {
    for (const auto& path : files_below(input)) files[path] = describe_file(path, known_files);
  }
  if (known_files.is_object()) {
    for (const auto& [name, file] : known_files.items()) {
      if (!files.contains(name)) files[name] = describe_file(name, known_files);
    }
  }
  return {{"settings", hash_bytes(dump_json(settings))}, {"version", version()}, {"inputs", files}};
}

void add_opened_files(Json& fingerprint, const std::string& own_folder) {
  std::error_code error;
  const fs::path own = fs::absolute(own_folder, error).lexically_normal();
  Json& files = fingerprint["inputs"];
  std::set<fs::path> there;
  for (const auto& [name, file] : files.items()) there.insert(fs::path(name).lexically_normal());
  const auto is_own = [&](const std::string& path) {
    return is_below(fs::absolute(path, error).lexically_normal(), own);
  };
  for (const auto& path : opened_files()) {
    if (is_own(path)) continue;
    const std::string shipped = resource_name(path);
    const std::string name = shipped.empty() ? path : std::string(kInstallation) + shipped;
    if (!there.insert(fs::path(name).lexically_normal()).second) continue;
    if (!fs::exists(path, error)) continue;  // a temporary file that its owner removed
    files[name] = describe_file(name, Json());
  }
  for (const auto& path : missing_files()) {
    if (!is_own(path) && !fs::exists(path, error)) files.emplace(path, no_file());
  }
}

Json describe_outputs(const std::string& folder, const std::string& page) {
  const fs::path own = fs::absolute(folder);
  std::vector<std::string> files = files_below(folder);
  if (!page.empty()) files.push_back(page);
  Json outputs = Json::object();
  for (const auto& path : files) {
    outputs[fs::absolute(path).lexically_relative(own).string()] = describe_content(path, Json());
  }
  return outputs;
}

bool has_outputs(const std::string& folder, const std::string& page, const Json& outputs) {
  if (!outputs.is_object()) return false;
  const fs::path own = fs::absolute(folder);
  const std::string page_name =
      page.empty() ? "" : fs::absolute(page).lexically_relative(own).string();
  if (!page.empty() && !outputs.contains(page_name)) return false;
  return std::ranges::all_of(outputs.items(), [&](const auto& output) {
    const std::string path = (own / output.key()).lexically_normal().string();
    std::error_code error;
    return fs::is_regular_file(path, error) &&
           text_member(describe_content(path, output.value()), "hash") ==
               text_member(output.value(), "hash");
  });
}

bool same_fingerprint(const Json& a, const Json& b) {
  if (!a.is_object() || !b.is_object()) return false;
  const auto essence = [](const Json& fingerprint) {
    Json out = {{"settings", text_member(fingerprint, "settings")},
                {"version", text_member(fingerprint, "version")}};
    if (const Json& inputs = member(fingerprint, "inputs"); inputs.is_object()) {
      // Files without a key of their own come last, in the order in which they were found.
      std::map<std::string, std::string> hashes;
      for (const auto& [path, file] : inputs.items()) hashes[path] = text_member(file, "hash");
      out["inputs"] = hashes;
    }
    return out;
  };
  return essence(a) == essence(b);
}

}  // namespace lowbank
