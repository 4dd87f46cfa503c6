#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/vocabulary.h"
#include "tokenizers/word_model.h"

namespace lowbank::tokenizers {

/// The pieces of a sentencepiece model as the model of a tokenizer.json: it takes text in which
/// U+2581 stands for every space, and changes nothing in it.
///
/// Source:  transformers 4.57.1 convert_slow_tokenizer.py, LlamaConverter (behaviour, checked by
///          tests/parity/make_tokenizer_folder_fixture.py).
/// Differs: of pieces with equal scores the leftmost is made first, as the sentencepiece library
///          does; transformers makes the one with the longer first half first. With unigram pieces,
///          the text "<0x0A>" is not a byte token.
class SentencepieceWordModel : public WordModel {
 public:
  /// `name` stands in errors. Errors: IoError when the model cannot be used.
  SentencepieceWordModel(SentencepieceModel model, const std::string& name);
  ~SentencepieceWordModel() override;

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override;
  void tokenize_long(std::string_view word, const TakeTokens& take) const override;
  std::int32_t find(std::string_view token) const override { return index_->find(token); }
  const std::vector<std::string>& texts() const override { return texts_; }
  std::size_t num_tokens() const override { return texts_.size(); }
  bool can_cut_before(std::string_view mark) const override;

 private:
  std::vector<std::string> texts_;
  std::optional<StringIndex> index_;
  std::unique_ptr<Tokenizer> encoder_;
};

}  // namespace lowbank::tokenizers
