#include "train/resume_point.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/nn/module.h>
#include <torch/types.h>

#include "config/fingerprint.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "io/safetensors.h"
#include "nn/tensor_file.h"
#include "train/adamw.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kPointKey = "lowbank_resume_point";

// The saved point's record: fingerprint, settings, progress.
Json read_record(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kPointKey);
  if (found == file.metadata().end()) {
    throw IoError(file.path() + ": is not a resume point; remove it to start from the beginning");
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

// Parameters and optimizer state under the names they have in the file.
std::map<std::string, torch::Tensor> point_tensors(const torch::nn::Module& model,
                                                   const AdamW& optimizer) {
  auto tensors = optimizer.state();
  for (const auto& item : model.named_parameters()) tensors.emplace(item.key(), item.value());
  return tensors;
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
  } catch (const Json::exception& e) {
    throw IoError(fmt::format("{}: corrupt resume point: {}", path_, e.what()));
  }
  can_resume_ = true;
}

TrainProgress ResumePoint::load(torch::nn::Module& model, AdamW& optimizer) const {
  const at::NoGradGuard no_grad;
  const auto file = SafetensorsFile::open(path_);
  for (const auto& [name, tensor] : point_tensors(model, optimizer)) {
    const auto* const entry = file->find(name);
    if (entry == nullptr || tensor.sizes() != at::IntArrayRef(entry->shape)) {
      throw IoError(
          fmt::format("{}: corrupt resume point: tensor {} is missing or has another "
                      "shape",
                      path_, name));
    }
    tensor.copy_(view_tensor(file, *entry));
  }
  TrainProgress progress;
  try {
    const Json saved = read_record(*file).at("progress");
    saved.at("step").get_to(progress.step);
    saved.at("is_evaluated").get_to(progress.is_evaluated);
    saved.at("step_seconds").get_to(progress.step_seconds);
    saved.at("seconds").get_to(progress.seconds);
    const auto loss = [&](const char* key) {
      const Json& value = saved.at(key);
      return value.is_null() ? std::nullopt : std::optional<double>(value.get<double>());
    };
    progress.start_valid_loss = loss("start_valid_loss");
    progress.valid_loss = loss("valid_loss");
  } catch (const Json::exception& e) {
    throw IoError(fmt::format("{}: corrupt resume point: {}", path_, e.what()));
  }
  optimizer.set_num_steps(progress.step);
  return progress;
}

void ResumePoint::save(const torch::nn::Module& model, const AdamW& optimizer,
                       const TrainProgress& progress) const {
  const auto loss = [](std::optional<double> value) {
    return value.has_value() ? Json(*value) : Json();
  };
  const Json record = {{"fingerprint", Json::parse(fingerprint_)},
                       {"settings", Json::parse(settings_)},
                       {"progress",
                        {{"step", progress.step},
                         {"is_evaluated", progress.is_evaluated},
                         {"step_seconds", progress.step_seconds},
                         {"seconds", progress.seconds},
                         {"start_valid_loss", loss(progress.start_valid_loss)},
                         {"valid_loss", loss(progress.valid_loss)}}}};
  make_folders(folder_);
  write_tensors(path_, point_tensors(model, optimizer), {{kPointKey, record.dump()}});
}

void ResumePoint::remove() const {
  std::error_code error;
  fs::remove_all(folder_, error);
}

}  // namespace lowbank
