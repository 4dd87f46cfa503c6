#include "io/checkpoint_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/checkpoint_meta.h"

namespace lowbank {
namespace {

// Whether a file is part of a checkpoint, so that a new checkpoint in the same folder replaces it.
bool is_checkpoint_file(std::string_view name) {
  const bool is_weights = name.starts_with("model") && (name.ends_with(".safetensors") ||
                                                        name == "model.safetensors.index.json");
  return is_weights || name == "config.json" || name == "lowbank.json" || is_side_file(name);
}

std::vector<std::string> list_files(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) names.push_back(it->path().filename().string());
  }
  if (error) throw IoError(folder + ": cannot list the folder: " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

void move_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    throw IoError(errno_message(to, "cannot rename into place", errno));
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder)
    : folder_(std::move(folder)), staging_(fmt::format("{}/{}", folder_, kPartialFolder)) {
  first_created_ = make_folders(folder_);
  std::error_code error;
  std::filesystem::remove_all(staging_, error);  // a process that was killed may have left it
  make_folders(staging_);
}

CheckpointWriter::~CheckpointWriter() {
  std::error_code error;
  std::filesystem::remove_all(staging_, error);
  if (!first_created_.empty() && !published_) remove_folders(folder_, first_created_);
}

std::string CheckpointWriter::staging_path(std::string_view name) const {
  const std::string path = staging_ + "/" + std::string(name);
  if (const auto slash = name.rfind('/'); slash != std::string_view::npos) {
    make_folders(staging_ + "/" + std::string(name.substr(0, slash)));
  }
  return path;
}

void CheckpointWriter::publish() {
  std::vector<std::string> staged = list_files(staging_);
  std::error_code error;
  for (std::filesystem::directory_iterator it(staging_, error), end; !error && it != end;
       it.increment(error)) {
    if (!it->is_directory(error)) continue;
    const std::string below = it->path().filename().string();
    make_folders(folder_ + "/" + below);
    for (const auto& name : list_files(it->path().string())) staged.push_back(below + "/" + name);
  }
  std::filesystem::remove(folder_ + "/config.json", error);
  for (const auto& name : list_files(folder_)) {
    if (is_checkpoint_file(name) && std::find(staged.begin(), staged.end(), name) == staged.end()) {
      std::filesystem::remove(folder_ + "/" + name, error);
    }
  }
  for (const auto& name : staged) {
    if (name != "config.json") move_file(staging_path(name), folder_ + "/" + name);
  }
  sync_folder(folder_);
  if (std::find(staged.begin(), staged.end(), "config.json") != staged.end()) {
    move_file(staging_path("config.json"), folder_ + "/config.json");
  }
  std::filesystem::remove_all(staging_, error);
  sync_folder(folder_);
  published_ = true;
}

}  // namespace lowbank
