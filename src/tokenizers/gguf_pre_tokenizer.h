#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank::tokenizers {

/// What one value of tokenizer.ggml.pre stands for.
///
/// Source:  ggml-org/llama.cpp src/llama-vocab.cpp (llm_tokenizer_bpe, llama_vocab::impl::load).
/// Differs: Unicode properties are those of PCRE2's tables, llama.cpp's tables are some versions
///          newer: characters that came after Unicode 14 may be cut otherwise.
struct GgufPreTokenizer {
  /// Regular expressions, each applied within the pieces that those before it left; what lies
  /// between two matches is a piece, too.
  std::vector<std::string> patterns;
  bool ignore_merges = false;  ///< a piece that is a token stays whole
  bool add_bos = false;        ///< where the file does not say
};

/// Errors: IoError "WHERE: ..." for a name that is not known, listing those that are.
const GgufPreTokenizer& find_gguf_pre_tokenizer(const std::string& name, const std::string& where);

/// Whether a pattern of a tokenizer.json is one of those above.
bool is_known_pattern(const std::string& regex);

/// `pre_tokenizer` of a tokenizer.json that cuts as `pre` does and spells bytes as GPT-2 does.
nlohmann::ordered_json pre_tokenizer_json(const GgufPreTokenizer& pre);

/// The value of tokenizer.ggml.pre for a `pre_tokenizer` of a tokenizer.json; empty where GGUF has
/// no name for it.
std::optional<std::string> recognise_pre_tokenizer(const nlohmann::ordered_json& spec,
                                                   bool ignore_merges);

}  // namespace lowbank::tokenizers
