#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank::tokenizers {

/// What a token is for; numbered as in sentencepiece's ModelProto and in GGUF's token_type.
enum class TokenKind : std::int32_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct SentencepiecePiece {
  std::string text;
  float score = 0.0F;
  TokenKind kind = TokenKind::kNormal;
};

/// The parts of a sentencepiece model that say how it encodes; defaults are the format's own.
struct SentencepieceModel {
  enum class Type : std::int32_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

  std::vector<SentencepiecePiece> pieces;
  // trainer_spec
  Type type = Type::kUnigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::int32_t unk_id = 0;
  std::int32_t bos_id = 1;  ///< -1: none
  std::int32_t eos_id = 2;
  std::int32_t pad_id = -1;
  // normalizer_spec
  std::string normalizer_name;
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Reads a tokenizer.model; `name` stands in errors.
///
/// Source:  google/sentencepiece src/sentencepiece_model.proto (field numbers), protobuf's wire
///          format.
/// Differs: fields that do not change how a text is encoded (training settings, self tests) are
///          passed over.
/// Errors:  IoError naming the byte where the model is damaged.
SentencepieceModel read_sentencepiece_model(std::string_view bytes, const std::string& name);

/// The bytes of a tokenizer.model that the sentencepiece library opens.
std::string write_sentencepiece_model(const SentencepieceModel& model);

}  // namespace lowbank::tokenizers
