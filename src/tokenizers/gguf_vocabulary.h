#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tokenizers/gguf_pre_tokenizer.h"
#include "tokenizers/sentencepiece_model.h"

namespace lowbank {
class GgufFile;
}

namespace lowbank::tokenizers {

/// The tokenizer inside a GGUF file: keys tokenizer.ggml.*.
///
/// Source:  ggml-org/ggml docs/gguf.md; ggml-org/llama.cpp src/llama-vocab.cpp for defaults and for
///          tokens whose text makes them control tokens whatever their type.
/// Differs: two tokens of one text are refused; gpt2 has no start token unless the file names one
///          (llama.cpp takes id 11); cls_token_id serves where bert's bos_token_id is absent.
struct GgufVocabulary {
  enum class Model { kGpt2, kLlama, kBert };

  Model model = Model::kGpt2;
  const GgufPreTokenizer* pre = nullptr;  ///< gpt2 only
  std::vector<std::string> tokens;        ///< UTF-8, none empty, no two equal
  std::vector<TokenKind> kinds;
  std::vector<float> scores;        ///< llama only
  std::vector<std::string> merges;  ///< gpt2 only: two tokens and a space between
  std::optional<std::int64_t> bos, eos, unk, sep, pad, mask;  ///< bos of bert is [CLS]
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;
  bool is_lower_case = true;  ///< bert only
  bool strip_accents = true;  ///< bert only
  // What llama.cpp keeps for other models and a sentencepiece model has.
  bool remove_extra_whitespaces = false;
  std::string precompiled_charsmap;

  /// Control and unknown tokens stand for no text.
  bool is_special(std::size_t id) const {
    return kinds[id] == TokenKind::kControl || kinds[id] == TokenKind::kUnknown;
  }
};

/// Errors: IoError naming file and key; also for models and pre-tokenizers that are not supported.
GgufVocabulary read_gguf_vocabulary(const GgufFile& file);

/// tokenizer.json of a gpt2 vocabulary, without its added tokens and its post-processor.
nlohmann::ordered_json byte_bpe_json(const GgufVocabulary& vocabulary);

/// `model` of a tokenizer.json for a llama vocabulary: BPE whose merges are in the order of the
/// scores. Warns of what makes other ids of it than the scores do: two pieces of one score, pieces
/// with characters that are no tokens, missing byte tokens. `where` names the vocabulary.
///
/// Source:  transformers 4.57.1 convert_slow_tokenizer.py (generate_merges, behaviour).
/// Errors:  ConfigError for a token of more than 4096 bytes, and for a score that is no number.
nlohmann::ordered_json score_bpe_json(const GgufVocabulary& vocabulary, const std::string& where);

/// `{"text": id, ...}` without a search for each key.
nlohmann::ordered_json vocab_json(const std::vector<std::string>& tokens);

/// The token of a WordPiece vocab.txt for one of a bert GGUF file, and back ("##ing" is stored as
/// "ing", "word" with U+2581 in front, control and user-defined tokens as they are).
std::string word_piece_of(const std::string& token, TokenKind kind);
std::string gguf_token_of_word_piece(const std::string& piece, TokenKind kind);

}  // namespace lowbank::tokenizers
