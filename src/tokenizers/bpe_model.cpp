#include "tokenizers/bpe_model.h"

#include <algorithm>
#include <bit>
#include <queue>

#include <fmt/format.h>

#include "core/error.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

// Up to this length looking through all pairs for the lowest rank beats a heap.
constexpr std::size_t kMaxShortWord = 48;

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
  if (options_.ignore_merges) {
    const std::int32_t id = byte_index_ ? byte_index_->find(word) : find(word);
    if (id >= 0) {
      out.push_back({id, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  const std::size_t first = out.size();
  if (byte_index_) {
    add_byte_symbols(word, out);
  } else {
    add_symbols(word, out);
  }
  if (out.size() - first <= kMaxShortWord) {
    merge_short(out, first);
  } else {
    merge_long(out, first);
  }
}

void BpeModel::add_byte_symbols(std::string_view word, std::vector<WordToken>& out) const {
  bool was_unknown = false;
  for (const char c : word) {
    std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
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

void BpeModel::add_symbols(std::string_view word, std::vector<WordToken>& out) const {
  // An unknown token waits, for more to be fused with it; byte tokens overtake it (as the peer
  // does).
  std::optional<WordToken> unknown;
  const auto flush = [&] {
    if (unknown) out.push_back(*unknown);
    unknown.reset();
  };
  std::string symbol;
  for (std::size_t at = 0; at < word.size();) {
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

// A heap of pairs and a linked list of symbols: a run of a million characters is no trouble.
void BpeModel::merge_long(std::vector<WordToken>& symbols, std::size_t first) const {
  constexpr std::uint32_t kEnd = ~std::uint32_t{0};
  const auto count = static_cast<std::uint32_t>(symbols.size() - first);
  WordToken* const word = symbols.data() + first;
  std::vector<std::uint32_t> next(count);
  std::vector<std::uint32_t> previous(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kEnd;
    previous[i] = i > 0 ? i - 1 : kEnd;
  }
  struct Candidate {
    std::int32_t rank;
    std::uint32_t at;
    std::int32_t merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto look_up = [&](std::uint32_t at) {
    const MergeSlot* const slot = find_merge(word[at].id, word[next[at]].id);
    if (slot != nullptr) candidates.push({slot->rank, at, slot->merged});
  };
  for (std::uint32_t i = 0; i + 1 < count; ++i) look_up(i);
  while (!candidates.empty()) {
    const Candidate top = candidates.top();
    candidates.pop();
    const std::uint32_t right = next[top.at];
    if (word[top.at].size == 0 || right == kEnd) continue;
    const MergeSlot* const slot = find_merge(word[top.at].id, word[right].id);
    if (slot == nullptr || slot->merged != top.merged) continue;  // it was merged otherwise since
    word[top.at] = {top.merged, word[top.at].size + word[right].size};
    word[right].size = 0;
    next[top.at] = next[right];
    if (next[right] != kEnd) previous[next[right]] = top.at;
    if (previous[top.at] != kEnd) look_up(previous[top.at]);
    if (next[top.at] != kEnd) look_up(top.at);
  }
  const auto end = std::remove_if(symbols.begin() + static_cast<std::ptrdiff_t>(first),
                                  symbols.end(), [](WordToken token) { return token.size == 0; });
  symbols.erase(end, symbols.end());
}

}  // namespace lowbank::tokenizers
