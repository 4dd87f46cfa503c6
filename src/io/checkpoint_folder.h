#pragma once

#include <string>
#include <string_view>

namespace lowbank {

/// Writes a checkpoint so that the folder holds the old one or the new one, never half of each.
///
/// Files are written into `<folder>/.partial` first. publish() deletes the files of an earlier
/// checkpoint, config.json first, and moves the new files into place, config.json last. A folder
/// without config.json is not a checkpoint, so the next reader notices a crash in between.
class CheckpointWriter {
 public:
  /// Creates the folder and an empty `.partial` in it. Errors: IoError.
  explicit CheckpointWriter(std::string folder);
  /// If publish() was not called, removes `.partial` and the folders that the constructor created.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  const std::string& staging_folder() const { return staging_; }
  std::string staging_path(std::string_view name) const;
  /// Errors: IoError.
  void publish();

 private:
  std::string folder_;
  std::string staging_;
  std::string first_created_;  // topmost folder that the constructor created; "" if none
  bool published_ = false;
};

}  // namespace lowbank
