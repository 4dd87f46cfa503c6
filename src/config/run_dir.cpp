#include "config/run_dir.h"

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/fingerprint.h"
#include "core/atomic_file.h"
#include "core/error.h"
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

}  // namespace

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

RunDir::RunDir(std::string folder, const StageConfig& config)
    : path_(std::move(folder)), config_(config) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::error_code error;
  if (fs::exists(path_, error)) {
    if (!fs::is_directory(path_, error)) {
      throw IoError(path_ + ": is a file; the output is a folder");
    }
    const bool is_empty = fs::is_empty(path_, error);
    if (error) throw IoError(path_ + ": cannot look into the output folder: " + error.message());
    if (!is_empty && !fs::exists(path("resolved.json"), error)) {
      throw ConfigError(path_ + ": holds files that no Lowbank stage wrote; choose another folder");
    }
  }
  fs::path nearest = fs::absolute(path_);
  while (!fs::exists(nearest, error) && nearest.has_parent_path()) nearest = nearest.parent_path();
  if (!fs::is_directory(nearest, error)) {
    throw IoError(fmt::format("{}: cannot create the output folder: {} is not a folder", path_,
                              nearest.string()));
  }
  if (access(nearest.c_str(), W_OK | X_OK) != 0) {
    throw IoError(errno_message(path_, "cannot write to the output folder", errno));
  }
}

RunDir::~RunDir() {
  log_to_file("");
  if (!first_created_.empty() && !keep_) remove_folders(path_, first_created_);
}

std::string RunDir::path(std::string_view name) const { return path_ + "/" + std::string(name); }

void RunDir::begin() {
  if (begun_) return;
  std::error_code error;
  first_created_ = make_folders(path_);
  const Fields fields = config_.fields();
  const Field* const resume = find_field(fields, "resume");
  fs::remove(path("run.json"), error);  // not complete until finish()
  fs::remove(path("metrics.json"), error);
  if (resume == nullptr || !*std::get<const bool*>(resume->target)) {
    fs::remove(path("metrics.jsonl"), error);
    fs::remove_all(path("state"), error);
  }
  Json resolved = {{"stage", config_.info().name}, {"name", config_.recipe_name}};
  resolved.update(to_json(fields));
  write("resolved.json", dump_json(resolved));
  fingerprint_ = stage_fingerprint(config_, Json::object()).dump();
  write("started.json", dump_json({{"fingerprint", Json::parse(fingerprint_)}}));
  log_to_file(path("log.txt"));
  begun_ = true;
}

void RunDir::write(std::string_view name, std::string_view bytes) { write_file(path(name), bytes); }

void RunDir::append_metrics(const Json& line) {
  keep_ = true;
  std::FILE* const file = std::fopen(path("metrics.jsonl").c_str(), "a");
  if (file == nullptr) throw IoError(errno_message(path("metrics.jsonl"), "cannot write", errno));
  const bool written = std::fputs((line.dump() + "\n").c_str(), file) >= 0;
  if (std::fclose(file) != 0 || !written) {
    throw IoError(errno_message(path("metrics.jsonl"), "cannot write", errno));
  }
}

Json RunDir::keep_metrics(const std::function<bool(const Json&)>& keep) {
  Json kept = Json::array();
  if (!fs::exists(path("metrics.jsonl"))) return kept;
  std::string lines;
  const std::string text = read_text(path("metrics.jsonl"));
  for (const auto line : split_lines(text)) {
    // A process that was killed may have left half a last line.
    if (!Json::accept(line)) continue;
    Json value = Json::parse(line);
    if (!keep(value)) continue;
    lines += value.dump() + "\n";
    kept.push_back(std::move(value));
  }
  write("metrics.jsonl", lines);
  return kept;
}

void RunDir::write_metrics(const Json& metrics) { write("metrics.json", dump_json(metrics)); }

void RunDir::finish(double seconds) {
  if (!begun_) return;
  const CommandInfo info = config_.info();
  const std::string device = config_.common.device == "cpu" ? cpu_name() : config_.common.device;
  write("run.json", dump_json({{"stage", info.name},
                               {"provenance", info.is_modelled ? "modelled" : "measured"},
                               {"date", utc_now()},
                               {"device", device},
                               {"threads", config_.common.threads},
                               {"seconds", seconds},
                               {"fingerprint", Json::parse(fingerprint_)},
                               {"outputs", describe_outputs(path_)}}));
  std::error_code error;
  fs::remove(path("started.json"), error);
  keep_ = true;
  log_to_file("");
}

}  // namespace lowbank
