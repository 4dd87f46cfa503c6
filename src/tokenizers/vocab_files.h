#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizers/tokenizer.h"
#include "tokenizers/tokenizer_settings.h"

namespace lowbank::tokenizers {

/// tokenizer.json, or, where the settings next to it ask for it, the tokenizer.model next to it.
std::unique_ptr<Tokenizer> open_json_tokenizer(const std::string& path,
                                               const OpenOptions& options = {});

/// vocab.json with the merges.txt next to it.
///
/// Source: transformers GPT2TokenizerFast (pattern, <|endoftext|>, add_prefix_space,
/// add_bos_token).
std::unique_ptr<Tokenizer> open_gpt2_tokenizer(const std::string& path,
                                               const OpenOptions& options = {});

/// vocab.txt: WordPiece, in lower case unless the tokenizer_config.json next to it says otherwise.
///
/// Source: transformers BertTokenizerFast.
std::unique_ptr<Tokenizer> open_bert_tokenizer(const std::string& path,
                                               const OpenOptions& options = {});

/// True if `bytes` start as a tiktoken file does: BASE64, a space, a rank.
bool is_tiktoken(std::string_view bytes);

/// The bytes of a sentencepiece model as transformers' Llama tokenizer reads them.
std::unique_ptr<Tokenizer> make_llama_tokenizer(const std::string& bytes, const std::string& name,
                                                const TokenizerSettings& settings,
                                                const OpenOptions& options = {});

/// Llama-3's tokenizer.model: byte tokens in base64 with their ranks, the pattern and the 256
/// special tokens in the program.
///
/// Source:  meta-llama/llama3 llama/tokenizer.py; openai/tiktoken for the merges.
/// Differs: special tokens spelled out in a text become their ids, as in Llama-3's tokenizer.json.
std::unique_ptr<Tokenizer> make_tiktoken_tokenizer(std::string_view bytes, const std::string& name);

// All throw IoError naming the file and what is wrong in it, and ConfigError for a setting that
// cannot be honoured. The files next to `path` are those of TokenizerSettings.

}  // namespace lowbank::tokenizers
