#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "io/checkpoint_meta.h"
#include "io/tensor_archive.h"
#include "tools/convert/tensor_stream.h"

namespace lowbank {

/// The plan of a conversion, made before any value is read: the result's config.json, the source of
/// each of its tensors, and the other files of the result.
struct ConvertSource {
  std::string format;                                    ///< "GGUF file", for people
  std::shared_ptr<const nlohmann::ordered_json> config;  ///< Hugging Face's config.json
  std::shared_ptr<const TensorArchive> archive;
  std::vector<MappedTensor> tensors;
  std::vector<std::pair<std::string, std::string>> dropped;  ///< (tensor of the source, why)
  std::vector<std::string> absent;  ///< optional parts that the source does not have ("pooler")
  std::map<std::string, std::string> files;  ///< side files by name, with their content
  CheckpointMeta meta;

  bool has_tokenizer() const;  ///< one of `files` is a tokenizer's vocabulary
};

/// Opens a source of any form and fits its tensors to its configuration. `tokenizer_path` is the
/// file or folder of a tokenizer for a source that has none, else empty.
///
/// Errors: IoError for missing or damaged files and for tensors that are missing, extra or of wrong
/// shape (at most 20 named); ConfigError for settings that change the result and are not supported,
/// and for a tokenizer that does not belong to the model.
ConvertSource open_convert_source(const std::string& path, const std::string& tokenizer_path);

}  // namespace lowbank
