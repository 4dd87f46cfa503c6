#include "tokenizers/sentencepiece_encoder.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "tokenizers/text_hash.h"

namespace lowbank::tokenizers {
namespace {

// How much normalised text is made at a time.
constexpr std::size_t kStretchBytes = std::size_t{1} << 16;

std::size_t size_of_first(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return std::min(size, text.size());
}

bool is_normal(TokenKind kind) {
  return kind == TokenKind::kNormal || kind == TokenKind::kUserDefined ||
         kind == TokenKind::kUnused;
}

// Whether an unused piece is what two neighbours, characters or pieces, may be merged to.
bool can_make_unused(const SentencepieceModel& model) {
  std::unordered_set<std::string_view> pieces;
  for (const auto& piece : model.pieces) {
    if (is_normal(piece.kind)) pieces.insert(piece.text);
  }
  const auto is_symbol = [&](std::string_view text) {
    return size_of_first(text) == text.size() || pieces.contains(text);
  };
  return std::any_of(model.pieces.begin(), model.pieces.end(), [&](const auto& piece) {
    if (piece.kind != TokenKind::kUnused) return false;
    const std::string_view text = piece.text;
    for (std::size_t at = size_of_first(text); at < text.size();
         at += size_of_first(text.substr(at))) {
      if (is_symbol(text.substr(0, at)) && is_symbol(text.substr(at))) return true;
    }
    return false;
  });
}

}  // namespace

/// Normalised text that waits to be encoded.
class SentencepieceEncoder::Source {
 public:
  Source(const SentencepieceNormalizer& normalizer, const TextPart& part, bool behind_space,
         bool with_origins)
      : stream_(normalizer, part, behind_space), part_(part), with_origins_(with_origins) {}

  std::string_view text() const { return text_; }
  bool is_complete() const { return is_complete_; }
  /// Makes text() at least `bytes` long if there is so much.
  void fill(std::size_t bytes) {
    if (is_complete_) return;
    if (bytes > text_.capacity()) {
      // A long word: memory that is reserved and not used takes nothing.
      const std::size_t most = std::max(bytes, 2 * part_.text.size() + kStretchBytes);
      text_.reserve(most);
      if (with_origins_) origins_.reserve(most);
    }
    is_complete_ = !stream_.fill(bytes, text_, with_origins_ ? &origins_ : nullptr);
  }
  void drop(std::size_t bytes) {
    text_.erase(0, bytes);
    if (!with_origins_) return;
    origins_.erase(origins_.begin(), origins_.begin() + static_cast<std::ptrdiff_t>(bytes));
  }
  bool with_origins() const { return with_origins_; }
  /// Where in the part the byte of text() comes from; `at` may be its end once it is complete.
  std::size_t origin(std::size_t at) const {
    return at < origins_.size() ? origins_[at] : stream_.end_origin();
  }

 private:
  SentencepieceNormalizer::Stream stream_;
  const TextPart& part_;
  bool with_origins_;
  bool is_complete_ = false;
  std::string text_;
  std::vector<std::uint32_t> origins_;
};

/// Turns pieces of the source's text into ids, in order.
class SentencepieceEncoder::Output {
 public:
  Output(const SentencepieceEncoder& owner, const Source& source, TokenWriter& out)
      : owner_(owner), source_(source), out_(out) {}

  /// The piece source.text()[begin, begin + size).
  void add(std::int32_t id, std::size_t begin, std::size_t size) {
    const std::size_t end = source_.with_origins() ? source_.origin(begin + size) : 0;
    const bool is_unknown = owner_.kinds_[static_cast<std::size_t>(id)] == TokenKind::kUnknown;
    if (is_unknown && owner_.byte_fallback_) {
      const std::size_t start = source_.with_origins() ? source_.origin(begin) : 0;
      for (std::size_t i = 0; i < size; ++i) {
        const auto byte = static_cast<unsigned char>(source_.text()[begin + i]);
        out_.add(owner_.byte_ids_[byte], i + 1 < size ? start : end);
      }
    } else if (is_unknown && was_unknown_) {
      out_.extend_last(end);  // unknown neighbours are one token
    } else {
      out_.add(id, end);
    }
    was_unknown_ = is_unknown;
  }

 private:
  const SentencepieceEncoder& owner_;
  const Source& source_;
  TokenWriter& out_;
  bool was_unknown_ = false;
};

std::unique_ptr<SentencepieceEncoder> SentencepieceEncoder::make(const SentencepieceModel& model) {
  using Type = SentencepieceModel::Type;
  const bool is_word = model.type == Type::kWord;
  // Every word begins with a mark.
  if (is_word &&
      (!model.escape_whitespaces || !model.add_dummy_prefix || model.treat_whitespace_as_suffix)) {
    return nullptr;
  }
  bool has_unknown = false;
  for (const auto& piece : model.pieces) {
    if (piece.text.empty()) return nullptr;
    has_unknown = has_unknown || piece.kind == TokenKind::kUnknown;
    if (is_normal(piece.kind)) continue;
    const bool is_part = is_word ? piece.text.starts_with(kWordStart)
                                 : size_of_first(piece.text) == piece.text.size();
    if (is_part) return nullptr;
  }
  if (!has_unknown || (model.type == Type::kBpe && can_make_unused(model))) return nullptr;
  return std::unique_ptr<SentencepieceEncoder>(new SentencepieceEncoder(model));
}

SentencepieceEncoder::SentencepieceEncoder(const SentencepieceModel& model)
    : type_(model.type), normalizer_(model), byte_fallback_(model.byte_fallback) {
  const std::string mark(normalizer_.mark());
  mark_starts_words_ = true;
  mark_ends_words_ = true;
  newline_ends_words_ = true;
  min_score_ = std::numeric_limits<float>::max();
  max_score_ = std::numeric_limits<float>::min();
  std::vector<std::int32_t> mergeable;
  std::vector<PrefixTrie::Entry> entries;
  byte_ids_.fill(-1);
  for (const auto& piece : model.pieces) {
    const auto id = static_cast<std::int32_t>(texts_.size());
    texts_.push_back(piece.text);
    scores_.push_back(piece.score);
    kinds_.push_back(piece.kind);
    if (piece.kind == TokenKind::kUnknown) unk_id_ = id;
    if (piece.kind == TokenKind::kByte && piece.text.size() == 6) {
      byte_ids_[static_cast<unsigned>(std::stoi(piece.text.substr(3, 2), nullptr, 16)) & 0xFFU] =
          id;
    }
    if (!is_normal(piece.kind)) continue;
    mergeable.push_back(id);
    entries.emplace_back(model.pieces[static_cast<std::size_t>(id)].text, id);
    max_piece_bytes_ = std::max(max_piece_bytes_, piece.text.size());
    knows_mark_ = knows_mark_ || (piece.text == mark && piece.kind == TokenKind::kNormal);
    if (piece.kind == TokenKind::kNormal) {
      min_score_ = std::min(min_score_, piece.score);
      max_score_ = std::max(max_score_, piece.score);
    }
    const auto newline = piece.text.find('\n');
    newline_ends_words_ = newline_ends_words_ && newline + 1 >= piece.text.size();
    bool was_mark = false;
    for (std::size_t at = 0; at < piece.text.size();) {
      const auto rest = std::string_view(piece.text).substr(at);
      const bool is_mark = rest.starts_with(mark);
      if (at > 0 && is_mark && !was_mark) mark_starts_words_ = false;
      if (at > 0 && !is_mark && was_mark) mark_ends_words_ = false;
      was_mark = is_mark;
      at += is_mark ? mark.size() : size_of_first(rest);
    }
  }
  if (type_ == SentencepieceModel::Type::kUnigram) {
    trie_ = PrefixTrie(std::move(entries));
  } else {
    pieces_.emplace(texts_, scores_, std::move(mergeable));
  }
}

std::size_t SentencepieceEncoder::find_cut(std::string_view text) const {
  // The scores of unigram paths are sums in float from the start of the text, and their rounding
  // decides between paths that are equally good; only encode_unigram carries them on.
  const bool has_words = mark_starts_words_ || mark_ends_words_;
  if (type_ != SentencepieceModel::Type::kBpe || !has_words || !knows_mark_) return 0;
  return normalizer_.find_cut(text, !mark_starts_words_);
}

void SentencepieceEncoder::encode(const TextPart& part, TokenWriter& out) const {
  if (part.text.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw ConfigError(
        fmt::format("a text must have less than 4 GiB, got {}", format_bytes(part.text.size())));
  }
  Source source(normalizer_, part, !mark_starts_words_, out.with_ends());
  Output output(*this, source, out);
  switch (type_) {
    case SentencepieceModel::Type::kUnigram:
      return encode_unigram(source, output);
    case SentencepieceModel::Type::kBpe:
      return encode_bpe(source, output);
    case SentencepieceModel::Type::kWord:
      return encode_whole_words(source, output);
    case SentencepieceModel::Type::kChar:
      return encode_characters(source, output);
  }
}

// The last place where one word ends and the next begins; 0 if none.
std::size_t SentencepieceEncoder::last_word_border(std::string_view text) const {
  std::size_t behind_newline = 0;
  if (newline_ends_words_ && text.size() > 1) {
    const auto newline = text.rfind('\n', text.size() - 2);
    if (newline != std::string_view::npos) behind_newline = newline + 1;
  }
  const std::string_view mark = normalizer_.mark();
  if (!mark_starts_words_ && !mark_ends_words_) return behind_newline;
  for (std::size_t at = text.rfind(mark); at != std::string_view::npos && at > behind_newline;
       at = text.rfind(mark, at - 1)) {
    const bool is_behind_mark =
        at >= mark.size() && text.substr(at - mark.size(), mark.size()) == mark;
    if (mark_starts_words_) {
      if (!is_behind_mark) return at;
    } else if (at + mark.size() < text.size() && !text.substr(at + mark.size()).starts_with(mark)) {
      return at + mark.size();
    }
  }
  return behind_newline;
}

std::size_t SentencepieceEncoder::first_symbol(std::string_view text,
                                               std::int32_t& user_defined) const {
  std::size_t size = 0;
  const auto& known = normalizer_.user_defined();
  user_defined = known.is_empty() ? -1 : known.longest(text, size);
  return user_defined >= 0 ? size : size_of_first(text);
}

void SentencepieceEncoder::encode_characters(Source& source, Output& out) const {
  for (;;) {
    source.fill(kStretchBytes);
    const std::string_view text = source.text();
    // A user-defined piece must be seen whole, and so must the character behind it.
    const std::size_t margin = source.is_complete() ? 0 : max_piece_bytes_ + 4;
    std::size_t at = 0;
    while (at + margin < text.size()) {
      std::int32_t id = -1;
      const std::size_t size = first_symbol(text.substr(at), id);
      if (id < 0) id = pieces_->find(text.substr(at, size));
      out.add(id >= 0 ? id : unk_id_, at, size);
      at += size;
    }
    if (source.is_complete()) return;
    source.drop(at);
  }
}

void SentencepieceEncoder::encode_whole_words(Source& source, Output& out) const {
  for (std::size_t wanted = kStretchBytes;;) {
    source.fill(wanted);
    const std::string_view text = source.text();
    std::size_t begin = 0;
    while (begin < text.size()) {
      std::size_t end = text.find(kWordStart, begin + kWordStart.size());
      if (end == std::string_view::npos && !source.is_complete()) break;
      end = std::min(end, text.size());
      const std::int32_t id = pieces_->find(text.substr(begin, end - begin));
      out.add(id >= 0 ? id : unk_id_, begin, end - begin);
      begin = end;
    }
    if (source.is_complete()) return;
    wanted = begin == 0 ? 2 * text.size() : kStretchBytes;
    source.drop(begin);
  }
}

void SentencepieceEncoder::encode_bpe(Source& source, Output& out) const {
  std::unique_ptr<WordCache> cache;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      cache = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!cache) cache = std::make_unique<WordCache>();
  const std::string_view mark = normalizer_.mark();
  for (std::size_t wanted = kStretchBytes;;) {
    source.fill(wanted);
    const std::string_view text = source.text();
    // The offset of the byte behind a word must be known, too: the last word waits.
    const std::size_t end = source.is_complete() ? text.size() : last_word_border(text);
    if (end == 0 && !source.is_complete()) {
      wanted = 2 * text.size();
      continue;
    }
    for (std::size_t begin = 0; begin < end;) {
      std::size_t stop = begin;
      if (mark_starts_words_) {
        while (text.substr(stop, mark.size()) == mark) stop += mark.size();
        stop = std::min(text.find(mark, stop), end);
      } else if (mark_ends_words_) {
        stop = text.find(mark, stop);
        if (stop == std::string_view::npos) stop = end;
        while (text.substr(stop, mark.size()) == mark) stop += mark.size();
      } else {
        stop = end;
      }
      encode_word(text.substr(begin, stop - begin), begin, *cache, out);
      begin = stop;
    }
    if (source.is_complete()) break;
    source.drop(end);
    wanted = kStretchBytes;
  }
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(cache));
}

// `begin` is where the word stands in the source's text.
void SentencepieceEncoder::encode_word(std::string_view word, std::size_t begin, WordCache& cache,
                                       Output& out) const {
  const bool is_cached = word.size() <= WordCache::kMaxWordBytes;
  const std::uint64_t hash = is_cached ? hash_text(word) : 0;
  std::span<const WordToken> known;
  if (is_cached && cache.find(word, hash, known)) {
    for (const auto& token : known) {
      out.add(token.id, begin, token.size);
      begin += token.size;
    }
    return;
  }
  const auto next_symbol = [this](std::string_view text) {
    MergeSymbol symbol;
    symbol.size = static_cast<std::uint32_t>(first_symbol(text, symbol.id));
    symbol.is_frozen = symbol.id >= 0;
    return symbol;
  };
  using Rules = ScoredPieces::Rules<decltype(next_symbol)>;
  Rules rules(*pieces_, next_symbol);
  std::vector<WordToken> tokens;
  PairMerger<Rules>(rules).merge(
      word, window_bytes_, [&](const MergeSymbol& symbol, std::string_view text) {
        std::int32_t id = symbol.id >= 0 ? symbol.id : pieces_->find(text);
        if (id < 0) id = unk_id_;
        out.add(id, begin, symbol.size);
        begin += symbol.size;
        if (is_cached) tokens.push_back({id, symbol.size});
      });
  if (is_cached) cache.add(word, hash, tokens);
}

// A Viterbi search over the pieces. All open paths end near the place where the search stands; what
// they have in common behind it is final.
void SentencepieceEncoder::encode_unigram(Source& source, Output& out) const {
  constexpr std::uint32_t kNowhere = ~std::uint32_t{0};
  constexpr float kUnknownPenalty = 10.0F;  // the library's
  struct End {
    std::int32_t id = -1;
    float score = 0.0F;
    std::uint32_t start = kNowhere;
  };
  const float unknown_score = min_score_ - kUnknownPenalty;
  std::vector<End> ends;  // the best path to each byte of source.text()
  std::vector<std::uint32_t> path;
  std::size_t at = 0;
  const auto emit_to = [&](std::size_t end) {
    path.clear();
    for (std::size_t i = end; i > 0; i = ends[i].start)
      path.push_back(static_cast<std::uint32_t>(i));
    std::size_t begin = 0;
    for (auto i = path.rbegin(); i != path.rend(); ++i) {
      out.add(ends[*i].id, begin, *i - begin);
      begin = *i;
    }
  };
  std::size_t wanted = kStretchBytes;
  for (;;) {
    source.fill(wanted);
    const std::string_view text = source.text();
    ends.resize(text.size() + 1);
    // Pieces must be seen whole, and so must the character behind them.
    const std::size_t margin = source.is_complete() ? 0 : max_piece_bytes_ + 4;
    while (at + margin < text.size()) {
      const float score_here = ends[at].score;
      const std::size_t character = size_of_first(text.substr(at));
      bool has_character = false;
      std::uint32_t node = PrefixTrie::kRoot;
      for (std::size_t end = at; end < text.size();) {
        node = trie_.child(node, text[end++]);
        if (node == PrefixTrie::kNone) break;
        const std::int32_t id = trie_.value(node);
        if (id < 0 || kinds_[static_cast<std::size_t>(id)] == TokenKind::kUnused) continue;
        const std::size_t size = end - at;
        // In double, as the library's expression has it; stored in float.
        const double score = kinds_[static_cast<std::size_t>(id)] == TokenKind::kUserDefined
                                 ? static_cast<float>(size) * max_score_ - 0.1
                                 : static_cast<double>(scores_[static_cast<std::size_t>(id)]);
        const double sum = score + static_cast<double>(score_here);
        End& best = ends[end];
        if (best.start == kNowhere || sum > static_cast<double>(best.score)) {
          best = {id, static_cast<float>(sum), static_cast<std::uint32_t>(at)};
        }
        has_character = has_character || size == character;
      }
      if (!has_character) {
        End& best = ends[at + character];
        const float sum = unknown_score + score_here;
        if (best.start == kNowhere || sum > best.score) {
          best = {unk_id_, sum, static_cast<std::uint32_t>(at)};
        }
      }
      at += character;
    }
    if (source.is_complete()) break;
    // Where the open paths part.
    std::size_t common = at;
    for (std::size_t end = at + 1; end < ends.size(); ++end) {
      if (ends[end].start == kNowhere) continue;
      std::size_t other = end;
      while (other != common) {
        if (other > common) {
          other = ends[other].start;
        } else {
          common = ends[common].start;
        }
      }
    }
    if (common == 0) {
      wanted = 2 * text.size();
      continue;
    }
    emit_to(common);
    source.drop(common);
    ends.erase(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(common));
    for (auto& end : ends) {
      if (end.start != kNowhere) {
        end.start = end.start > common ? end.start - static_cast<std::uint32_t>(common) : 0;
      }
    }
    at -= common;
    wanted = kStretchBytes;
  }
  emit_to(source.text().size());
}

}  // namespace lowbank::tokenizers
