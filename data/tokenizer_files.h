#pragma once

#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "io/gguf_writer.h"

namespace lowbank {

class GgufFile;

/// Files of a Hugging Face folder by name, with their content.
using TokenizerFiles = std::map<std::string, std::string>;

/// The tokenizer of a GGUF file as files that transformers opens; empty for a file without one.
TokenizerFiles tokenizer_files_from_gguf(const GgufFile& file);

/// Keys tokenizer.* of a GGUF file for the tokenizer of a Hugging Face folder (its files, its
/// config.json); none for a folder without one. `source` names the folder in errors.
GgufKeys gguf_tokenizer_keys(const TokenizerFiles& files, const nlohmann::ordered_json& config,
                             const std::string& source);

}  // namespace lowbank
