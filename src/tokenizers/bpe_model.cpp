#include "tokenizers/bpe_model.h"

#include <algorithm>
#include <bit>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "tokenizers/pair_merger.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

// Up to this length looking through all pairs for the lowest rank beats a heap.
constexpr std::size_t kMaxShortWord = 48;

constexpr std::size_t kMaxCharacterBytes = 4;

constexpr std::int32_t kNoRank = 0x7FFFFFFF;

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::size_t slot_of(std::uint64_t pair, std::size_t mask) {
  const std::uint64_t hash = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u;
  return (hash ^ hash >> 32) & mask;
}

}  // namespace

BpeModel::BpeModel(std::unique_ptr<Vocabulary> vocabulary, const std::vector<BpeMerge>& merges,
                   BpeOptions options, std::string name)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      name_(std::move(name)),
      merges_(std::bit_ceil(2 * merges.size() + 2)) {
  const std::size_t mask = merges_.size() - 1;
  for (const auto& merge : merges) {
    const std::uint64_t pair = pair_of(merge.left, merge.right);
    std::size_t at = slot_of(pair, mask);
    while (merges_[at].pair != kNoPair && merges_[at].pair != pair) at = (at + 1) & mask;
    merges_[at] = {pair, merge.rank, merge.merged};  // of two equal pairs the last counts
  }
}

bool BpeModel::can_take_bytes() const {
  // These look at characters, not at the bytes that they stand for.
  return !options_.byte_fallback && options_.continuing_subword_prefix.empty() &&
         options_.end_of_word_suffix.empty();
}

void BpeModel::take_bytes() {
  const auto& texts = vocabulary_->texts();
  byte_texts_.resize(texts.size());
  std::vector<std::int32_t> ids;
  for (const auto id : vocabulary_->ids()) {
    const auto at = static_cast<std::size_t>(id);
    if (characters_to_bytes(texts[at], byte_texts_[at])) ids.push_back(id);
  }
  byte_index_.emplace(byte_texts_, ids);
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = byte_index_->find({&c, 1});
  }
}

const BpeModel::MergeSlot* BpeModel::find_merge(std::int32_t left, std::int32_t right) const {
  const std::size_t mask = merges_.size() - 1;
  const std::uint64_t pair = pair_of(left, right);
  for (std::size_t at = slot_of(pair, mask); merges_[at].pair != kNoPair; at = (at + 1) & mask) {
    if (merges_[at].pair == pair) return &merges_[at];
  }
  return nullptr;
}

std::int32_t BpeModel::unk_id() const {
  const std::int32_t id = find(options_.unk_token);
  if (id < 0) {
    throw IoError(fmt::format("{}: unk_token '{}' is needed but not in the vocabulary", name_,
                              options_.unk_token));
  }
  return id;
}

void BpeModel::tokenize(std::string_view word, std::vector<WordToken>& out) const {
  if (const auto whole = find_whole(word)) return out.push_back(*whole);
  const std::size_t first = out.size();
  if (word.size() <= kMaxShortWord * (byte_index_ ? 1 : kMaxCharacterBytes)) {
    add_symbols(word, 0, word.size(), out);
    if (out.size() - first <= kMaxShortWord) return merge_short(out, first);
    out.resize(first);
  }
  merge_long(word, [&](WordToken token) { out.push_back(token); });
}

void BpeModel::tokenize_long(std::string_view word, const TakeTokens& take) const {
  if (word.size() <= options_.window_bytes) return WordModel::tokenize_long(word, take);
  if (const auto whole = find_whole(word)) return take({&*whole, 1});
  constexpr std::size_t kBlock = 4096;
  std::vector<WordToken> block;
  block.reserve(kBlock);
  merge_long(word, [&](WordToken token) {
    block.push_back(token);
    if (block.size() < kBlock) return;
    take(block);
    block.clear();
  });
  take(block);
}

std::optional<WordToken> BpeModel::find_whole(std::string_view word) const {
  if (!options_.ignore_merges) return std::nullopt;
  const std::int32_t id = byte_index_ ? byte_index_->find(word) : find(word);
  if (id < 0) return std::nullopt;
  return WordToken{id, static_cast<std::uint32_t>(word.size())};
}

std::size_t BpeModel::add_symbols(std::string_view word, std::size_t begin, std::size_t end,
                                  std::vector<WordToken>& out) const {
  return byte_index_ ? add_byte_symbols(word, begin, end, out)
                     : add_character_symbols(word, begin, end, out);
}

std::size_t BpeModel::add_byte_symbols(std::string_view word, std::size_t begin, std::size_t end,
                                       std::vector<WordToken>& out) const {
  bool was_unknown = false;
  std::size_t at = begin;
  for (; at < word.size() && (at < end || (was_unknown && options_.fuse_unk)); ++at) {
    std::int32_t id = byte_ids_[static_cast<unsigned char>(word[at])];
    const bool is_unknown = id < 0;
    if (is_unknown) {
      if (options_.unk_token.empty()) continue;
      id = unk_id();
    }
    if (is_unknown && was_unknown && options_.fuse_unk) {
      ++out.back().size;
    } else {
      out.push_back({id, 1});
    }
    was_unknown = is_unknown;
  }
  return at;
}

// The tokens of all bytes of `text`, or nothing where one has no token.
bool BpeModel::add_bytes(std::string_view text, std::vector<WordToken>& out) const {
  const std::size_t first = out.size();
  for (const char c : text) {
    const auto id = find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(c)));
    if (id < 0) {
      out.resize(first);
      return false;
    }
    out.push_back({id, 1});
  }
  return true;
}

std::size_t BpeModel::add_character_symbols(std::string_view word, std::size_t from, std::size_t to,
                                            std::vector<WordToken>& out) const {
  // An unknown token waits, for more to be fused with it; byte tokens overtake it (as the peer
  // does).
  std::optional<WordToken> unknown;
  const auto flush = [&] {
    if (unknown) out.push_back(*unknown);
    unknown.reset();
  };
  std::string symbol;
  std::size_t at = from;
  while (at < word.size() && (at < to || (unknown && options_.fuse_unk))) {
    const std::size_t begin = at;
    next_code_point(word, at);
    const auto size = static_cast<std::uint32_t>(at - begin);
    symbol.clear();
    if (begin > 0) symbol += options_.continuing_subword_prefix;
    symbol += word.substr(begin, size);
    if (at == word.size()) symbol += options_.end_of_word_suffix;
    const std::int32_t id = find(symbol);
    if (id >= 0) {
      flush();
      out.push_back({id, size});
    } else if (options_.byte_fallback && add_bytes(symbol, out)) {
      continue;
    } else if (!options_.unk_token.empty()) {
      if (unknown && options_.fuse_unk) {
        unknown->size += size;
      } else {
        flush();
        unknown = WordToken{unk_id(), size};
      }
    }
  }
  flush();
  return at;
}

void BpeModel::merge_short(std::vector<WordToken>& symbols, std::size_t first) const {
  std::size_t count = symbols.size() - first;
  if (count < 2) return;
  std::array<std::int32_t, kMaxShortWord> ranks;
  std::array<std::int32_t, kMaxShortWord> merged;
  WordToken* const word = symbols.data() + first;
  const auto look_up = [&](std::size_t i) {
    const MergeSlot* const slot = find_merge(word[i].id, word[i + 1].id);
    ranks[i] = slot == nullptr ? kNoRank : slot->rank;
    merged[i] = slot == nullptr ? -1 : slot->merged;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    std::size_t at = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) at = ranks[i] < ranks[at] ? i : at;
    if (ranks[at] == kNoRank) break;
    word[at] = {merged[at], word[at].size + word[at + 1].size};
    --count;
    for (std::size_t i = at + 1; i < count; ++i) word[i] = word[i + 1];
    for (std::size_t i = at + 1; i + 1 < count; ++i) {
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    if (at > 0) look_up(at - 1);
    if (at + 1 < count) look_up(at);
  }
  symbols.resize(first + count);
}

/// The rules of merges by rank, for PairMerger.
class BpeModel::RankRules {
 public:
  using Order = std::int32_t;
  explicit RankRules(const BpeModel& model) : model_(model) {}

  std::size_t split(std::string_view word, std::size_t begin, std::size_t end,
                    std::vector<MergeSymbol>& out) {
    tokens_.clear();
    const std::size_t stop = model_.add_symbols(word, begin, end, tokens_);
    std::uint32_t at = 0;
    for (const auto& token : tokens_) {
      out.push_back({.id = token.id, .begin = at, .size = token.size});
      at += token.size;
    }
    return stop;
  }
  bool find(std::string_view, const MergeSymbol& left, const MergeSymbol& right, Order& order,
            std::int32_t& merged) const {
    const MergeSlot* const slot = model_.find_merge(left.id, right.id);
    if (slot == nullptr) return false;
    order = slot->rank;
    merged = slot->merged;
    return true;
  }
  std::optional<Order> earliest(std::string_view window, const MergeSymbol& left,
                                std::size_t partner_end) const {
    const PrefixTrie& trie = *model_.ranks_by_text_;
    std::int32_t best = kNoRank;
    std::uint32_t node = PrefixTrie::kRoot;
    for (std::size_t at = left.begin; at < window.size(); ++at) {
      node = trie.child(node, window[at]);
      if (node == PrefixTrie::kNone) break;
      const std::int32_t rank = trie.value(node);
      if (rank >= 0 && at + 1 >= partner_end) best = std::min(best, rank);
    }
    return best == kNoRank ? std::nullopt : std::optional<Order>(best);
  }

 private:
  const BpeModel& model_;
  std::vector<WordToken> tokens_;
};

// Windows need to tell from the text which merges may come. They therefore need merged tokens whose
// text is that of their parts, and symbols that cover every byte of the word.
bool BpeModel::can_take_windows() const {
  std::call_once(windows_checked_, [&] {
    const auto& texts = byte_index_ ? byte_texts_ : vocabulary_->texts();
    const auto is_spelled = [&](std::int32_t id) {
      return !texts[static_cast<std::size_t>(id)].empty() && id != find(options_.unk_token);
    };
    if (!options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty()) return;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool is_known = byte_index_              ? byte_ids_[byte] >= 0
                            : options_.byte_fallback ? find(fmt::format("<0x{:02X}>", byte)) >= 0
                                                     : !options_.unk_token.empty();
      if (!is_known) return;
    }
    std::map<std::int32_t, std::int32_t> ranks;  // of the first merge that makes a token
    for (const auto& slot : merges_) {
      if (slot.pair == kNoPair) continue;
      const auto left = static_cast<std::int32_t>(slot.pair >> 32);
      const auto right = static_cast<std::int32_t>(slot.pair & 0xFFFFFFFFu);
      const auto& left_text = texts[static_cast<std::size_t>(left)];
      const auto& right_text = texts[static_cast<std::size_t>(right)];
      const auto is_byte = [&](const std::string& text) {
        return options_.byte_fallback && text.size() == 6 && text.starts_with("<0x");
      };
      if (!is_spelled(left) || !is_spelled(right) || is_byte(left_text) || is_byte(right_text) ||
          left_text + right_text != texts[static_cast<std::size_t>(slot.merged)]) {
        return;
      }
      const auto [known, is_new] = ranks.emplace(slot.merged, slot.rank);
      if (!is_new) known->second = std::min(known->second, slot.rank);
    }
    std::vector<PrefixTrie::Entry> entries;
    entries.reserve(ranks.size());
    for (const auto& [id, rank] : ranks) {
      entries.emplace_back(texts[static_cast<std::size_t>(id)], rank);
    }
    // Of tokens with equal texts, the first merge counts.
    std::sort(entries.begin(), entries.end());
    ranks_by_text_.emplace(std::move(entries));
  });
  return ranks_by_text_.has_value();
}

// No merge reaches over the place if no token does, and unknown symbols are not fused over it if the
// mark is known.
bool BpeModel::can_cut_before(std::string_view mark) const {
  if (mark.empty() || options_.ignore_merges || !can_take_windows()) return false;
  std::size_t first = 0;
  next_code_point(mark, first);
  const bool is_known = byte_index_ ? byte_ids_[static_cast<unsigned char>(mark[0])] >= 0
                                    : find(mark.substr(0, first)) >= 0;
  if (!is_known) return false;
  const auto& texts = byte_index_ ? byte_texts_ : vocabulary_->texts();
  return std::none_of(texts.begin(), texts.end(),
                      [&](const std::string& text) { return has_space_behind_letter(text, mark); });
}

template <class Take>
void BpeModel::merge_long(std::string_view word, Take take) const {
  using Merger = PairMerger<RankRules>;
  const bool has_windows = word.size() > options_.window_bytes && can_take_windows();
  RankRules rules(*this);
  Merger(rules).merge(word, has_windows ? options_.window_bytes : word.size(),
                      [&](const MergeSymbol& symbol, std::string_view) {
                        take(WordToken{symbol.id, symbol.size});
                      });
}

}  // namespace lowbank::tokenizers
