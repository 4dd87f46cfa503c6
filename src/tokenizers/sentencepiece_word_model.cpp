#include "tokenizers/sentencepiece_word_model.h"

#include <numeric>
#include <utility>

#include "tokenizers/sentencepiece_normalizer.h"
#include "tokenizers/sentencepiece_tokenizer.h"

namespace lowbank::tokenizers {
namespace {

// The text comes as it is to be encoded.
SentencepieceModel without_normalizer(SentencepieceModel model) {
  model.normalizer_name = "identity";
  model.precompiled_charsmap.clear();
  model.add_dummy_prefix = false;
  model.remove_extra_whitespaces = false;
  model.escape_whitespaces = true;
  return model;
}

class WordSizes : public TokenSink {
 public:
  explicit WordSizes(const TakeTokens& take) : take_(take) {}
  void take(std::span<const std::int32_t> ids, std::span<const std::int64_t> ends) override {
    tokens_.clear();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      tokens_.push_back({ids[i], static_cast<std::uint32_t>(ends[i] - end_)});
      end_ = ends[i];
    }
    take_(tokens_);
  }

 private:
  const TakeTokens& take_;
  std::int64_t end_ = 0;
  std::vector<WordToken> tokens_;
};

}  // namespace

SentencepieceWordModel::SentencepieceWordModel(SentencepieceModel model, const std::string& name) {
  model = without_normalizer(std::move(model));
  for (const auto& piece : model.pieces) texts_.push_back(piece.text);
  std::vector<std::int32_t> ids(texts_.size());
  std::iota(ids.begin(), ids.end(), 0);
  index_.emplace(texts_, ids);
  encoder_ = std::make_unique<SentencepieceTokenizer>(write_sentencepiece_model(model), name);
}

SentencepieceWordModel::~SentencepieceWordModel() = default;

void SentencepieceWordModel::tokenize(std::string_view word, std::vector<WordToken>& out) const {
  tokenize_long(word, [&](std::span<const WordToken> tokens) {
    out.insert(out.end(), tokens.begin(), tokens.end());
  });
}

void SentencepieceWordModel::tokenize_long(std::string_view word, const TakeTokens& take) const {
  WordSizes sizes(take);
  TokenWriter writer(sizes, /*with_ends=*/true);
  encoder_->encode_part({word}, /*add_special=*/false, writer);
  writer.finish();
}

bool SentencepieceWordModel::can_cut_before(std::string_view mark) const {
  return mark == kWordStart && encoder_->find_cut("a b") == 1;
}

}  // namespace lowbank::tokenizers
