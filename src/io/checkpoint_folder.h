#pragma once

#include <string>
#include <string_view>

namespace lowbank {

/// Writes a checkpoint so that the folder holds the old one or the new one, never half of each.
///
/// Files are put into `<folder>/.partial` first. publish() drops what an earlier checkpoint left,
/// config.json first, and moves the new files into place, config.json last: a folder without
/// config.json is no checkpoint, so a crash in between is seen by the next reader.
class CheckpointWriter {
 public:
  /// Creates the folder and an empty `.partial` in it. Errors: IoError.
  explicit CheckpointWriter(std::string folder);
  /// Without publish(): removes `.partial`, and the folders that were created here.
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
  std::string first_created_;  // topmost folder that was made; "" if none
  bool published_ = false;
};

}  // namespace lowbank
