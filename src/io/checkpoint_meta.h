#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

/// `lowbank.json` of a checkpoint folder: the facts for which config.json has no place.
struct CheckpointMeta {
  static constexpr std::int64_t kRevision = 2;
  std::string base_model;           ///< name of the model the first checkpoint came from
  std::vector<SlotRecord> linears;  ///< the slots that hold anything else than one dense layer
  std::vector<HistoryEntry> history;
};

/// What a folder is that looks like a model and is none that Lowbank reads (Meta's original form:
/// params.json and consolidated.*.pth), and what to do; nothing for other paths.
std::optional<std::string> foreign_folder_hint(const std::string& path);

/// The folder that holds config.json: `path` itself, or its `checkpoint` for a run folder.
/// Errors: IoError if there is none.
std::string resolve_checkpoint(const std::string& path);

/// Reads lowbank.json of a checkpoint folder; returns an empty record if there is none (a plain
/// Hugging Face folder). Revision 1, which allowed only one factored layer in a slot, is read as
/// well. Errors: IoError for a corrupt file or a newer revision.
CheckpointMeta read_checkpoint_meta(const std::string& folder);
void write_checkpoint_meta(const std::string& folder, const CheckpointMeta& meta);

/// The list of a sentence encoder's modules (io/sentence_encoder.h).
inline constexpr std::string_view kModulesFile = "modules.json";
/// Whether modules.json may name a folder so: one beside it.
bool is_module_folder(std::string_view name);

/// True for the names of tokenizer, generation_config, sentence encoder and licence files.
bool is_side_file(std::string_view name);

/// Those files of a checkpoint folder by name, and the configurations of a sentence encoder's modules
/// ("1_Pooling/config.json"). A note names those that are links, since what they point to will be
/// copied.
/// Errors: IoError.
std::map<std::string, std::string> read_side_files(const std::string& folder);

/// Copies those files from one checkpoint folder to another.
void copy_side_files(const std::string& from_folder, const std::string& to_folder);

}  // namespace lowbank
