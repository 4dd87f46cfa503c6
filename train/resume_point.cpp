#include "train/resume_point.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "io/safetensors.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kPointKey = "lowbank_resume_point";

// The saved point's record: fingerprint, settings, and the snapshot's own records.
Json read_record(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kPointKey);
  if (found == file.metadata().end()) {
    throw DamagedRecord(file.path() +
                        ": is not a resume point; remove it to start from the beginning");
  }
  return parse_json(found->second, file.path());
}

std::string first_difference(const Json& saved, const Fields& fields, const Json& settings,
                             const Json& fingerprint) {
  const Json saved_settings = saved.value("settings", Json::object()).flatten();
  const Json now_settings = settings.flatten();
  Fields searched = fields;
  for (const auto& [pointer, now] : now_settings.items()) {
    std::string key = pointer.substr(1);
    std::replace(key.begin(), key.end(), '/', '.');
    const Field* const field = find_field(searched, key);
    if (field != nullptr && (!field->affects_result || field->path == Field::Path::kOutput)) {
      continue;
    }
    const Json then = saved_settings.contains(pointer) ? saved_settings[pointer] : Json();
    if (then != now) return fmt::format("{} was {}, is {}", key, then.dump(), now.dump());
  }
  const Json saved_fingerprint = saved.value("fingerprint", Json::object());
  const Json saved_inputs = saved_fingerprint.value("inputs", Json::object());
  for (const auto& [path, file] : fingerprint["inputs"].items()) {
    const Json then = saved_inputs.value(path, Json::object());
    if (then.value("hash", "") != file.value("hash", "")) {
      return fmt::format("input {} has changed", path);
    }
  }
  return fmt::format("it is of Lowbank {}, this is {}", saved_fingerprint.value("version", "?"),
                     version());
}

}  // namespace

ResumePoint::ResumePoint(const std::string& run_folder, const StageConfig& config, bool resume)
    : folder_(run_folder + "/state"), path_(folder_ + "/point.safetensors") {
  const Fields fields = config.fields();
  const Json settings = to_json(fields);
  const Json fingerprint = stage_fingerprint(config, Json::object());
  settings_ = settings.dump();
  fingerprint_ = fingerprint.dump();
  settings_hash_ = fingerprint.value("settings", "");
  if (!resume) return;
  if (!fs::exists(path_)) {
    note("{}: nothing saved to go on from, starting from the beginning", run_folder);
    return;
  }
  try {
    const Json saved = read_record(*SafetensorsFile::open(path_));
    if (!same_fingerprint(saved.value("fingerprint", Json::object()), fingerprint)) {
      throw ConfigError(fmt::format(
          "{}: the saved point was made differently: {}; run with the same settings, or without "
          "--resume to start anew",
          folder_, first_difference(saved, fields, settings, fingerprint)));
    }
    metrics_hash_ = saved.value("metrics_hash", "");
  } catch (const Json::exception& e) {
    throw DamagedRecord(fmt::format("{}: corrupt resume point: {}", path_, e.what()));
  } catch (const IoError& e) {
    throw DamagedRecord(e.what());
  }
  can_resume_ = true;
}

Snapshot ResumePoint::load() const {
  Snapshot snapshot(path_);
  try {
    const auto file = SafetensorsFile::open(path_);
    for (const auto& entry : file->entries()) snapshot.add(entry.name, view_tensor(file, entry));
    const Json saved = read_record(*file);
    for (const auto& [name, record] : saved.at("records").items()) {
      snapshot.add_record(name, record);
    }
  } catch (const Json::exception& e) {
    throw DamagedRecord(fmt::format("{}: corrupt resume point: {}", path_, e.what()));
  } catch (const IoError& e) {
    throw DamagedRecord(e.what());
  }
  return snapshot;
}

void ResumePoint::save(const Snapshot& snapshot, const std::string& metrics_hash) const {
  Json records = Json::object();
  for (const auto& [name, text] : snapshot.records()) records[name] = Json::parse(text);
  const Json record = {{"fingerprint", Json::parse(fingerprint_)},
                       {"settings", Json::parse(settings_)},
                       {"metrics_hash", metrics_hash},
                       {"records", records}};
  make_folders(folder_);
  write_tensors(path_, snapshot.tensors(), {{kPointKey, record.dump()}});
}

void ResumePoint::remove() const {
  std::error_code error;
  fs::remove_all(folder_, error);
}

std::optional<Snapshot> RunFolderSink::last_snapshot() {
  return point_.can_resume() ? std::optional(point_.load()) : std::nullopt;
}

void RunFolderSink::keep_metrics(std::int64_t last_step) {
  out_.keep_metrics([&](const Json& line) {
    const auto step = line.find("step");
    return step != line.end() && step->is_number_integer() &&
           step->get<std::int64_t>() <= last_step;
  });
  const std::string& saved = point_.metrics_hash();
  if (last_step >= 0 && !saved.empty() && saved != out_.metrics_hash()) {
    throw DamagedRecord(out_.path("metrics.jsonl") +
                        ": is not what it was when the resume point was saved; start without "
                        "--resume");
  }
}

void RunFolderSink::add_metrics(const Json& line) { out_.append_metrics(line); }

}  // namespace lowbank
