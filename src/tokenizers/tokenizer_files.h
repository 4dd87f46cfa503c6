#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "io/gguf_writer.h"
#include "tokenizers/tokenizer_settings.h"

namespace lowbank {
class GgufFile;
}

namespace lowbank::tokenizers {

/// The tokenizer of a GGUF file as files that transformers opens: tokenizer.json and
/// tokenizer_config.json, with tokenizer.model (llama) or vocab.txt (bert) for other programs; empty
/// for a file without a tokenizer. The folder gives the ids of the GGUF file, and so does a GGUF file
/// made of it. Warns of what a tokenizer.json cannot hold.
///
/// Errors:  IoError naming file and key; ConfigError for a vocabulary that cannot be held.
TokenizerFiles tokenizer_files_from_gguf(const GgufFile& file);

/// Keys tokenizer.* of a GGUF file for the tokenizer of a Hugging Face folder (its files and its
/// config.json); none for a folder without one. Tokens are filled up to the model's vocabulary.
///
/// Source:  ggml-org/llama.cpp convert_hf_to_gguf.py, gguf-py/gguf/vocab.py (gguf 0.19.0).
/// Errors:  IoError naming `source` and the file that is damaged; ConfigError for a tokenizer that
///          GGUF cannot express (tiktoken ranks, unigram pieces, unknown pre-tokenizers).
GgufKeys gguf_tokenizer_keys(const TokenizerFiles& files, const nlohmann::ordered_json& config,
                             const std::string& source);

}  // namespace lowbank::tokenizers
