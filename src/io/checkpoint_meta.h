#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/layer_record.h"

namespace lowbank {

/// One stage that shaped the checkpoint.
struct HistoryEntry {
  std::string stage;
  std::string settings_hash;  ///< hash of the resolved recipe
  std::string version;        ///< Lowbank's
};

/// `lowbank.json` of a checkpoint folder: what config.json cannot say.
struct CheckpointMeta {
  static constexpr std::int64_t kRevision = 2;
  std::string base_model;           ///< name of the model the first checkpoint came from
  std::vector<SlotRecord> linears;  ///< those that are not one dense layer
  std::vector<HistoryEntry> history;
};

/// The folder that holds config.json: `path` itself, or its `checkpoint` for a run folder.
/// Errors: IoError if there is none.
std::string resolve_checkpoint(const std::string& path);

/// lowbank.json of a checkpoint folder; an empty record when it has none (a plain Hugging Face
/// folder). Errors: IoError for a corrupt file or a newer revision. Revision 1, which knew only one
/// factored layer a slot, is read as well.
CheckpointMeta read_checkpoint_meta(const std::string& folder);
void write_checkpoint_meta(const std::string& folder, const CheckpointMeta& meta);

/// True for the names of tokenizer, generation_config and licence files.
bool is_side_file(std::string_view name);

/// Copies tokenizer, generation_config and licence files from one checkpoint folder to another.
void copy_side_files(const std::string& from_folder, const std::string& to_folder);

}  // namespace lowbank
