#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizers/sentencepiece_encoder.h"
#include "tokenizers/tokenizer.h"

namespace lowbank::tokenizers {

/// Which special tokens encode(..., add_special) puts around a text.
struct SpecialTokens {
  bool add_bos = true;
  bool add_eos = false;
};

/// A sentencepiece model (Llama's tokenizer.model): BPE or unigram pieces, unknown characters as
/// byte tokens.
///
/// Source:  google/sentencepiece 0.1.97 (the library); transformers LlamaTokenizer for the defaults
///          of SpecialTokens.
/// Differs: special tokens spelled out in a text ("<s>") stay text.
class SentencepieceTokenizer : public Tokenizer {
 public:
  /// `name` stands in errors. Errors: IoError when the bytes are no sentencepiece model.
  SentencepieceTokenizer(const std::string& bytes, const std::string& name,
                         SpecialTokens special = {});
  ~SentencepieceTokenizer() override;

  void encode_part(const TextPart& part, bool add_special, TokenWriter& out) const override;
  std::size_t find_cut(std::string_view text) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  void decode_list(const IdList& ids,
                   const std::function<void(std::string_view)>& take) const override;
  std::string decode_piece(std::int64_t previous, std::int64_t id) const override;
  std::int64_t vocab_size() const override;
  std::optional<std::int64_t> bos_id() const override;
  std::optional<std::int64_t> eos_id() const override;

 private:
  struct Library;  // keeps the library's header, which defines namespace absl, out of ours
  void check_id(std::int64_t id) const;
  void encode_with_library(std::string_view text, TokenWriter& out) const;

  std::unique_ptr<Library> library_;
  std::unique_ptr<SentencepieceEncoder> encoder_;  // null where the library encodes
  std::string name_;
  SpecialTokens special_;
};

}  // namespace lowbank::tokenizers
