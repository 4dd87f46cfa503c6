#include "config/run_dir.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "config/folder_lock.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) throw IoError(folder + ": cannot look into the output folder: " + error.message());
  return names;
}

// A text of a record of the run; "" where the record is damaged or absent.
std::string recorded_text(const std::string& path, const char* key) {
  try {
    const Json record = read_json(path);
    if (!record.is_object() || !record.contains(key)) return "";
    return record[key].is_string() ? record[key].get<std::string>() : "";
  } catch (const Error&) {
    return "";
  }
}

// What a stage that was killed in begin(), before its resolved.json was there, leaves behind.
bool is_left_by_a_start(const std::string& name) {
  return name == kLockFile || name == kPartialFolder || is_temporary_of(name, "resolved.json");
}

// Nothing is written through a link: it may lead out of the folder.
void refuse_linked_folders(const std::string& folder) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it->is_symlink(ignored) && it->is_directory(ignored)) {
      throw ConfigError(it->path().string() +
                        ": is a link to a folder, and outputs are not written through links; "
                        "remove it or choose another output folder");
    }
  }
}

// Under `lowbank run` the stage of a front that was killed may need a while to end.
std::chrono::seconds lock_patience() {
  return std::chrono::seconds(log_options().stage_label.empty() ? 0 : 60);
}

}  // namespace

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

Json read_run_record(const std::string& folder) {
  const std::string path = folder + "/run.json";
  Json record = read_json(path);
  if (!record.is_object() || !record.contains("hash")) {
    throw IoError(path + ": is no record of a run");
  }
  Json rest = record;
  rest.erase("hash");
  if (record["hash"] != hash_bytes(dump_json(rest))) throw IoError(path + ": is damaged");
  return record;
}

RunDir::RunDir(std::string folder, const StageConfig& config)
    : path_(std::move(folder)), config_(config) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::error_code error;
  // Where a stage works, the folder changes; begin() looks again once it has the lock.
  if (!fs::exists(path(kLockFile), error)) check_folder();
  fs::path nearest = fs::absolute(path_, error);
  while (!fs::exists(nearest, error) && nearest.has_parent_path()) nearest = nearest.parent_path();
  if (!fs::is_directory(nearest, error)) {
    throw IoError(fmt::format("{}: cannot create the output folder: {} is not a folder", path_,
                              nearest.string()));
  }
  if (access(nearest.c_str(), W_OK | X_OK) != 0) {
    throw IoError(errno_message(path_, "cannot write to the output folder", errno));
  }
}

void RunDir::check_folder() const {
  std::error_code error;
  if (!fs::exists(path_, error)) return;
  if (!fs::is_directory(path_, error)) throw IoError(path_ + ": is a file; the output is a folder");
  const std::vector<std::string> names = names_in(path_);
  const auto has = [&](std::string_view name) { return std::ranges::count(names, name) > 0; };
  if (has("resolved.json")) {
    const std::string stage = recorded_text(path("resolved.json"), "stage");
    // A damaged record may be replaced where the others show whose it was.
    const bool is_own =
        stage.empty() ? has("run.json") || has("started.json") : stage == config_.info().name;
    if (is_own) return;
    if (!stage.empty()) {
      throw ConfigError(fmt::format("{}: holds the results of `lowbank {}`; choose another folder",
                                    path_, stage));
    }
  } else if (std::ranges::all_of(names, is_left_by_a_start)) {
    return;
  }
  throw ConfigError(path_ + ": holds files that no Lowbank stage wrote; choose another folder");
}

RunDir::~RunDir() {
  log_to_file("");
  if (!first_created_.empty() && !keep_) remove_folders(path_, first_created_);
}

std::string RunDir::path(std::string_view name) const { return path_ + "/" + std::string(name); }

void RunDir::lock() {
  if (lock_ != nullptr) return;
  const std::string created = make_folders(path_);
  lock_ = std::make_unique<FolderLock>(path_, "lowbank " + config_.info().name, lock_patience());
  first_created_ = created;  // who has no lock removes nothing: another stage works there
  check_folder();            // once more: now nobody else writes here
}

void RunDir::begin() {
  if (begun_) return;
  std::error_code error;
  lock();
  refuse_linked_folders(path_);
  if (lock_->is_held()) {
    for (const char* below : {"", "checkpoint", "state"}) remove_left_temporaries(path(below));
  }
  if (const fs::path page = config_.page(); !page.empty()) {
    remove_dead_temporaries(page.parent_path().string(), page.filename().string());
  }
  const Fields fields = config_.fields();
  const Field* const resume = find_field(fields, "resume");
  const bool resumes = resume != nullptr && *std::get<const bool*>(resume->target);
  if (const std::string date = recorded_text(path("run.json"), "date"); !date.empty() && !resumes) {
    note("{}: replaces the results of {}", path_, date);
  }
  fs::remove(path("run.json"), error);  // not complete until finish()
  fs::remove(path("metrics.json"), error);
  if (!resumes) {
    fs::remove(path("metrics.jsonl"), error);
    fs::remove_all(path("state"), error);
  }
  Json resolved = {{"stage", config_.info().name}, {"name", config_.recipe_name}};
  resolved.update(to_json(fields));
  write("resolved.json", dump_json(resolved));
  Json fingerprint = stage_fingerprint(config_, Json::object());
  add_opened_files(fingerprint, path_);
  write("started.json", dump_json({{"fingerprint", fingerprint}}));
  fingerprint_ = fingerprint.dump();
  log_to_file(path("log.txt"));
  begun_ = true;
}

void RunDir::write(std::string_view name, std::string_view bytes) {
  write_file(path(name), bytes, AtomicFile::Links::kReplace);
}

void RunDir::append_metrics(const Json& line) {
  keep_ = true;
  std::FILE* const file = open_to_append(path("metrics.jsonl"));
  if (file == nullptr) throw IoError(errno_message(path("metrics.jsonl"), "cannot write", errno));
  const bool written = std::fputs((line.dump() + "\n").c_str(), file) >= 0;
  if (std::fclose(file) != 0 || !written) {
    throw IoError(errno_message(path("metrics.jsonl"), "cannot write", errno));
  }
}

Json RunDir::read_metrics() const {
  Json read = Json::array();
  if (!fs::exists(path("metrics.jsonl"))) return read;
  const std::string text = read_bytes(path("metrics.jsonl"));  // damaged lines are told below
  int line_number = 0;
  for (const auto line : split_lines(text)) {
    ++line_number;
    Json value = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object()) {
      // A process that was killed may have left half a last line.
      if (line.data() + line.size() == text.data() + text.size()) continue;
      throw DamagedRecord(fmt::format("{}:{}: damaged: no JSON object; start without --resume",
                                      path("metrics.jsonl"), line_number));
    }
    read.push_back(std::move(value));
  }
  return read;
}

std::string RunDir::metrics_hash() const {
  const std::string file = path("metrics.jsonl");
  return fs::exists(file) ? hash_file(file) : hash_bytes("");
}

void RunDir::keep_metrics(const std::function<bool(const Json&)>& keep) {
  if (!fs::exists(path("metrics.jsonl"))) return;
  std::string lines;
  for (const auto& line : read_metrics()) {
    if (keep(line)) lines += line.dump() + "\n";
  }
  write("metrics.jsonl", lines);
}

void RunDir::write_metrics(const Json& metrics) { write("metrics.json", dump_json(metrics)); }

void RunDir::finish(double seconds) {
  if (!begun_) return;
  const CommandInfo info = config_.info();
  const std::string device = config_.common.device == "cpu" ? cpu_name() : config_.common.device;
  Json fingerprint = Json::parse(fingerprint_);
  add_opened_files(fingerprint, path_);
  Json record = {{"stage", info.name},
                 {"provenance", info.is_modelled ? "modelled" : "measured"},
                 {"date", utc_now()},
                 {"device", device},
                 {"threads", config_.common.threads},
                 {"seconds", seconds},
                 {"fingerprint", fingerprint},
                 {"outputs", describe_outputs(path_, config_.page())}};
  record["hash"] = hash_bytes(dump_json(record));
  write("run.json", dump_json(record));
  std::error_code error;
  fs::remove(path("started.json"), error);
  keep_ = true;
  log_to_file("");
  lock_.reset();
}

}  // namespace lowbank
