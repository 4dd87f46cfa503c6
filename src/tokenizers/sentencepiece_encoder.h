#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tokenizers/prefix_trie.h"
#include "tokenizers/scored_pieces.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/sentencepiece_normalizer.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/word_cache.h"

namespace lowbank::tokenizers {

/// Pieces of a text by a sentencepiece model, in memory that does not grow with the text.
///
/// Source:  google/sentencepiece 0.1.97 bpe_model.cc, unigram_model.cc (EncodeOptimized),
///          sentencepiece_processor.cc (behaviour; the test compares ids and offsets with the
///          library's).
/// Differs: BPE cuts the text into words where no piece reaches over, and takes long words in
///          windows (PairMerger); unigram fixes the part of the best path that all open paths share.
///          Also: word_model.cc, char_model.cc.
class SentencepieceEncoder {
 public:
  /// Null for a model that the library has to encode: BPE in which an unused piece can be made (it is
  /// cut as it was made last anywhere in the text), words without a mark at their start, or a
  /// control, unknown or byte piece that may stand for a part of the text.
  static std::unique_ptr<SentencepieceEncoder> make(const SentencepieceModel& model);

  std::size_t find_cut(std::string_view text) const;
  void encode(const TextPart& part, TokenWriter& out) const;
  /// Words of BPE from this length on are taken in windows.
  void set_window_bytes(std::size_t bytes) { window_bytes_ = bytes; }

 private:
  class Output;
  class Source;

  explicit SentencepieceEncoder(const SentencepieceModel& model);
  void encode_bpe(Source& source, Output& out) const;
  void encode_word(std::string_view word, std::size_t begin, WordCache& cache, Output& out) const;
  std::size_t last_word_border(std::string_view text) const;
  void encode_unigram(Source& source, Output& out) const;
  void encode_characters(Source& source, Output& out) const;
  void encode_whole_words(Source& source, Output& out) const;
  /// The first symbol of a text: a user-defined piece, or a character.
  std::size_t first_symbol(std::string_view text, std::int32_t& user_defined) const;

  SentencepieceModel::Type type_;
  SentencepieceNormalizer normalizer_;
  std::vector<std::string> texts_;
  std::vector<float> scores_;
  std::vector<TokenKind> kinds_;
  std::int32_t unk_id_ = 0;
  bool byte_fallback_ = false;
  std::array<std::int32_t, 256> byte_ids_{};
  bool mark_starts_words_ = false;   // no piece has a mark behind anything else
  bool mark_ends_words_ = false;     // no piece has anything but a mark behind a mark
  bool newline_ends_words_ = false;  // no piece has anything behind a line end
  bool knows_mark_ = false;
  std::optional<ScoredPieces> pieces_;  // BPE
  PrefixTrie trie_;                     // unigram
  std::size_t max_piece_bytes_ = 0;
  float min_score_ = 0.0F;
  float max_score_ = 0.0F;
  std::size_t window_bytes_ = std::size_t{1} << 15;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<WordCache>> idle_;
};

}  // namespace lowbank::tokenizers
