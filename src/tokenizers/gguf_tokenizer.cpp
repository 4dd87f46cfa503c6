#include "tokenizers/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <numeric>
#include <unordered_map>
#include <utf8proc.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "io/gguf.h"
#include "tokenizers/gguf_vocabulary.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/pair_merger.h"
#include "tokenizers/piece_joiner.h"
#include "tokenizers/scored_pieces.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

constexpr std::string_view kGgufSpace = "\xE2\x96\x81";  // U+2581 stands for a space in tokens

using TokenIndex = std::unordered_map<std::string_view, std::int64_t>;

/// The text between two special tokens, or a part of it.
struct Fragment {
  std::string_view text;
  std::size_t start = 0;  ///< where it begins in the part that is being encoded
  bool is_first = true;   ///< nothing of the fragment stands before it
  bool is_last = true;
  bool is_after_special = false;  ///< a special token or the start of the text stands before it
};

/// Encodes fragments.
class FragmentEncoder {
 public:
  virtual ~FragmentEncoder() = default;
  /// Ends count from the start of the part.
  virtual void encode(const Fragment& fragment, TokenWriter& out) const = 0;
  /// Whether a fragment may be cut before a space between two ASCII letters.
  virtual bool can_be_cut() const = 0;
};

/// gpt2: the pipeline of a tokenizer.json.
class ByteBpeEncoder : public FragmentEncoder {
 public:
  ByteBpeEncoder(const GgufVocabulary& vocabulary, const std::string& name)
      : tokenizer_(make_json_tokenizer(byte_bpe_json(vocabulary), name)) {}

  void encode(const Fragment& fragment, TokenWriter& out) const override {
    if (find_invalid_utf8(fragment.text) == std::string::npos) {
      const std::int64_t part_offset = out.offset();
      out.start_part(part_offset + static_cast<std::int64_t>(fragment.start));
      tokenizer_->encode_part({fragment.text, fragment.is_first, fragment.is_last},
                              /*add_special=*/false, out);
      out.start_part(part_offset);
      return;
    }
    std::string mended;
    std::vector<std::size_t>
        origins;  // where the character ends that a byte of `mended` is part of
    for (std::size_t at = 0; at < fragment.text.size();) {
      append_utf8(mended, lenient_code_point(fragment.text, at));
      origins.resize(mended.size(), at);
    }
    const auto encoding = tokenizer_->encode_with_offsets(mended);
    for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
      const auto end = static_cast<std::size_t>(encoding.ends[i]);
      out.add(static_cast<std::int32_t>(encoding.ids[i]),
              fragment.start + (end == 0 ? 0 : origins[end - 1]));
    }
  }
  bool can_be_cut() const override { return tokenizer_->find_cut("ab cd") != 0; }

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
};

/// llama: characters joined pair by pair, the pair with the best score first; what is no token in
/// the end becomes byte tokens.
class ScoreBpeEncoder : public FragmentEncoder {
 public:
  explicit ScoreBpeEncoder(const GgufVocabulary& vocabulary)
      : vocabulary_(vocabulary),
        pieces_(vocabulary.tokens, vocabulary.scores, all_ids(vocabulary)) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      std::int32_t id = pieces_.find(fmt::format("<0x{:02X}>", byte));
      const char alone = static_cast<char>(byte);
      if (id < 0) id = pieces_.find(std::string_view(&alone, 1));
      byte_ids_[byte] = id >= 0 ? id : static_cast<std::int32_t>(vocabulary.unk.value_or(0));
    }
    // Words begin with a space if no token has one behind anything else.
    mark_starts_words_ = std::none_of(
        vocabulary.tokens.begin(), vocabulary.tokens.end(), [](const std::string& token) {
          for (auto at = token.find(kGgufSpace, 1); at != std::string::npos;
               at = token.find(kGgufSpace, at + 1)) {
            if (!std::string_view(token).substr(0, at).ends_with(kGgufSpace)) return true;
          }
          return false;
        });
  }

  void encode(const Fragment& fragment, TokenWriter& out) const override {
    if (fragment.text.size() > std::numeric_limits<std::int32_t>::max()) {
      throw ConfigError(fmt::format("a text of {} bytes; at most 2 GiB can be encoded at once",
                                    fragment.text.size()));
    }
    Rules rules(pieces_, first_symbol);
    PairMerger<Rules> merger(rules);
    Progress progress{.fragment = fragment.text};
    std::string word;
    const auto finish_word = [&] {
      merger.merge(word, kWindowBytes, [&](const MergeSymbol&, std::string_view piece) {
        add_piece(piece, fragment.start, progress, out);
      });
      word.clear();
    };
    if (vocabulary_.add_space_prefix && fragment.is_after_special) {
      word = kGgufSpace;
      progress.prefix_left = word.size();
    }
    std::size_t character_end = 0;  // in the word, of the character that began last
    for (const char c : fragment.text) {
      // A mark may stand in the text itself, too.
      if (c == ' ' && mark_starts_words_ && !word.empty() && word.size() >= character_end &&
          !word.ends_with(kGgufSpace)) {
        finish_word();
        character_end = 0;
      }
      if (c == ' ') {
        word += kGgufSpace;
      } else {
        word += c;
      }
      while (character_end < word.size()) character_end += size_at(word[character_end]);
    }
    finish_word();
  }
  bool can_be_cut() const override { return mark_starts_words_; }

 private:
  static constexpr std::size_t kWindowBytes = std::size_t{1} << 15;

  // Any byte starts a character here, by its upper four bits alone.
  static std::size_t size_at(char c) {
    const auto high = static_cast<unsigned char>(c) >> 4;
    return high < 12 ? 1 : high < 14 ? 2 : high == 14 ? 3 : 4;
  }
  static MergeSymbol first_symbol(std::string_view text) {
    return {.size = static_cast<std::uint32_t>(std::min(size_at(text[0]), text.size()))};
  }
  using Rules = ScoredPieces::Rules<MergeSymbol (*)(std::string_view)>;

  static std::vector<std::int32_t> all_ids(const GgufVocabulary& vocabulary) {
    std::vector<std::int32_t> ids(vocabulary.tokens.size());
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }

  /// How far the pieces have come in the fragment. Byte by byte: a character that is cut off
  /// swallows part of the mark of a space behind it.
  struct Progress {
    std::string_view fragment = {};
    std::size_t at = 0;
    std::size_t prefix_left = 0;
    std::size_t mark_left = 0;

    void advance(std::size_t num_bytes) {
      for (; num_bytes > 0; --num_bytes) {
        if (prefix_left > 0) {
          --prefix_left;
          continue;
        }
        if (mark_left == 0) mark_left = fragment[at] == ' ' ? kGgufSpace.size() : 1;
        if (--mark_left == 0) ++at;
      }
    }
  };

  void add_piece(std::string_view piece, std::size_t start, Progress& progress,
                 TokenWriter& out) const {
    const std::int32_t id = pieces_.find(piece);
    if (id < 0) {
      for (const char c : piece.substr(0, piece.size() - 1)) {
        out.add(byte_ids_[static_cast<unsigned char>(c)], start + progress.at);
      }
    }
    if (out.with_ends()) progress.advance(piece.size());
    out.add(id >= 0 ? id : byte_ids_[static_cast<unsigned char>(piece.back())],
            start + progress.at);
  }

  const GgufVocabulary& vocabulary_;
  ScoredPieces pieces_;
  std::array<std::int32_t, 256> byte_ids_{};
  bool mark_starts_words_ = false;
};

/// bert: words of the cleaned text, each as the longest tokens from its start, or unknown.
class WordPieceEncoder : public FragmentEncoder {
 public:
  WordPieceEncoder(const GgufVocabulary& vocabulary, const TokenIndex& index)
      : vocabulary_(vocabulary), index_(index) {
    for (const auto& token : vocabulary.tokens) {
      max_token_bytes_ = std::max(max_token_bytes_, token.size());
    }
  }

  void encode(const Fragment& part, TokenWriter& out) const override {
    const std::string_view fragment = part.text;
    Word word;
    const auto finish_word = [&] {
      if (word.text.size() > kGgufSpace.size()) append_word(word, part.start, out);
      word.text = kGgufSpace;
      if (out.with_ends()) word.ends.assign(kGgufSpace.size(), 0);
    };
    finish_word();
    for (std::size_t at = 0; at < fragment.size();) {
      char32_t c = lenient_code_point(fragment, at);
      if (vocabulary_.strip_accents) c = first_of_decomposition(c);
      if (is_white_space(c)) {
        finish_word();
        continue;
      }
      const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
      const auto is_within = [&](utf8proc_category_t first, utf8proc_category_t last) {
        return category >= first && category <= last;
      };
      if (c == 0 || c == kReplacementCodePoint ||
          is_within(UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO)) {
        continue;
      }
      if (vocabulary_.strip_accents && is_within(UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME)) {
        continue;
      }
      const bool is_alone = is_within(UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) ||
                            is_chinese_character(c) ||
                            (c < 0x7F && is_within(UTF8PROC_CATEGORY_SM, UTF8PROC_CATEGORY_SO));
      if (is_alone) finish_word();
      if (vocabulary_.is_lower_case) {
        c = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
      }
      append_utf8(word.text, c);
      if (out.with_ends()) word.ends.resize(word.text.size(), static_cast<std::uint32_t>(at));
      if (is_alone) finish_word();
    }
    finish_word();
  }
  bool can_be_cut() const override { return true; }

 private:
  /// A word with the mark of its start; `ends` says where in the fragment the characters of its
  /// bytes end, if offsets are wanted.
  struct Word {
    std::string text;
    std::vector<std::uint32_t> ends;
  };

  // llama.cpp keeps no more than this of a character's decomposition: the base of an accented
  // letter, the first consonant of a Hangul syllable.
  static char32_t first_of_decomposition(char32_t c) {
    if (c < 0xC0) return c;
    std::array<utf8proc_int32_t, 32> parts{};
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                               parts.size(), UTF8PROC_DECOMPOSE, nullptr);
    return count > 0 ? static_cast<char32_t>(parts[0]) : c;
  }

  void append_word(const Word& word, std::size_t start, TokenWriter& out) const {
    const std::string_view text = word.text;
    const auto add = [&](std::int64_t id, std::size_t end) {
      out.add(static_cast<std::int32_t>(id), out.with_ends() ? start + word.ends[end - 1] : 0);
    };
    std::vector<WordToken> tokens;
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = std::min(text.size(), begin + max_token_bytes_);
      auto token = index_.end();
      for (; end > begin; --end) {
        if (end < text.size() && is_utf8_continuation(text[end])) continue;
        token = index_.find(text.substr(begin, end - begin));
        if (token != index_.end()) break;
      }
      if (token == index_.end()) return add(*vocabulary_.unk, text.size());
      tokens.push_back(
          {static_cast<std::int32_t>(token->second), static_cast<std::uint32_t>(end - begin)});
      begin = end;
    }
    std::size_t end = 0;
    for (const auto& token : tokens) add(token.id, end += token.size);
  }

  const GgufVocabulary& vocabulary_;
  const TokenIndex& index_;
  std::size_t max_token_bytes_ = 0;
};

class GgufTokenizer : public Tokenizer {
 public:
  GgufTokenizer(GgufVocabulary vocabulary, const std::string& name)
      : vocabulary_(std::move(vocabulary)), name_(name) {
    index_.reserve(vocabulary_.tokens.size());
    for (std::size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
      index_.emplace(vocabulary_.tokens[i], i);
      const bool is_cut_out =
          vocabulary_.is_special(i) || vocabulary_.kinds[i] == TokenKind::kUserDefined;
      if (!is_cut_out) continue;
      cut_out_[static_cast<unsigned char>(vocabulary_.tokens[i][0])].push_back(i);
      // It may reach over a cut, or leave a prefix to the text that begins there.
      cuts_out_letters_ = cuts_out_letters_ || is_ascii_letter(vocabulary_.tokens[i].back()) ||
                          has_space_behind_letter(vocabulary_.tokens[i], " ");
    }
    switch (vocabulary_.model) {
      case GgufVocabulary::Model::kGpt2:
        encoder_ = std::make_unique<ByteBpeEncoder>(vocabulary_, name);
        vocabulary_.merges = {};  // the encoder has them
        break;
      case GgufVocabulary::Model::kLlama:
        encoder_ = std::make_unique<ScoreBpeEncoder>(vocabulary_);
        break;
      case GgufVocabulary::Model::kBert:
        encoder_ = std::make_unique<WordPieceEncoder>(vocabulary_, index_);
        break;
    }
  }

  void encode_part(const TextPart& part, bool add_special, TokenWriter& out) const override {
    const std::string_view text = part.text;
    const bool is_bert = vocabulary_.model == GgufVocabulary::Model::kBert;
    if (part.is_first && add_special && vocabulary_.bos && (is_bert || vocabulary_.add_bos)) {
      out.add_special(static_cast<std::int32_t>(*vocabulary_.bos), 0);
    }
    std::size_t at = 0;
    bool is_behind_cut = true;  // a special token, or the start of the part
    const auto add_fragment = [&](std::size_t end) {
      if (end == at) return;
      const bool continues = at == 0 && !part.is_first;
      encoder_->encode({.text = text.substr(at, end - at),
                        .start = at,
                        .is_first = !continues,
                        .is_last = part.is_last || end < text.size(),
                        .is_after_special = is_behind_cut && !continues},
                       out);
      is_behind_cut = false;
    };
    for_each_cut(text, [&](const Occurrence& cut) {
      add_fragment(cut.begin);
      out.add(static_cast<std::int32_t>(cut.id), cut.end);
      is_behind_cut = true;
      at = cut.end;
    });
    add_fragment(text.size());
    const auto last = is_bert ? vocabulary_.sep : vocabulary_.eos;
    if (part.is_last && add_special && last && (is_bert || vocabulary_.add_eos)) {
      out.add_special(static_cast<std::int32_t>(*last), text.size());
    }
  }

  std::size_t find_cut(std::string_view text) const override {
    if (cuts_out_letters_ || !encoder_->can_be_cut()) return 0;
    for (std::size_t at = text.rfind(' '); at != std::string_view::npos && at > 0;
         at = text.rfind(' ', at - 1)) {
      if (at + 1 < text.size() && is_ascii_letter(text[at - 1]) && is_ascii_letter(text[at + 1])) {
        return at;
      }
    }
    return 0;
  }

  std::string decode(std::span<const std::int64_t> ids) const override {
    std::string text;
    PieceJoiner joiner(*this, [&](std::string_view piece) { text += piece; });
    for (const auto id : ids) joiner.add(id);
    joiner.finish();
    return text;
  }
  void decode_list(const IdList& ids,
                   const std::function<void(std::string_view)>& take) const override {
    PieceJoiner(*this, take).join(ids);
  }

  std::string decode_piece(std::int64_t previous, std::int64_t id) const override {
    if (id < 0 || id >= vocab_size()) {
      throw ConfigError(
          fmt::format("{}: token id must be in [0, {}); got {}", name_, vocab_size(), id));
    }
    const auto& token = vocabulary_.tokens[static_cast<std::size_t>(id)];
    switch (vocabulary_.kinds[static_cast<std::size_t>(id)]) {
      case TokenKind::kUserDefined:
        return token;
      case TokenKind::kByte:
        if (const auto byte = byte_of(token)) return std::string(1, *byte);
        return token;
      case TokenKind::kNormal:
        break;
      default:
        return "";
    }
    std::string text;
    if (vocabulary_.model == GgufVocabulary::Model::kGpt2) {
      return characters_to_bytes(token, text) ? text : token;
    }
    for (std::size_t at = 0; at < token.size();) {
      const bool is_space = std::string_view(token).substr(at).starts_with(kGgufSpace);
      text += is_space ? ' ' : token[at];
      at += is_space ? kGgufSpace.size() : 1;
    }
    const bool is_bert = vocabulary_.model == GgufVocabulary::Model::kBert;
    const bool is_first = previous < 0 || previous == vocabulary_.bos;
    if (is_first && (is_bert || vocabulary_.add_space_prefix) && text.starts_with(' ')) {
      text.erase(0, 1);
    }
    return text;
  }

  std::int64_t vocab_size() const override {
    return static_cast<std::int64_t>(vocabulary_.tokens.size());
  }
  std::optional<std::int64_t> bos_id() const override { return vocabulary_.bos; }
  std::optional<std::int64_t> eos_id() const override { return vocabulary_.eos; }

 private:
  /// A token that stands in the text at [begin, end).
  struct Occurrence {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t id = 0;
  };

  static std::optional<char> byte_of(std::string_view token) {  // "<0x0A>"
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    unsigned value = 0;
    for (const char c : token.substr(3, 2)) {
      const bool is_digit = c >= '0' && c <= '9';
      const bool is_letter = c >= 'A' && c <= 'F';
      if (!is_digit && !is_letter) return std::nullopt;
      value = value * 16 + static_cast<unsigned>(is_digit ? c - '0' : c - 'A' + 10);
    }
    return static_cast<char>(value);
  }

  // Calls `take` for the tokens to cut the text at, in order: of two that overlap the longer one,
  // then the one with the smaller id, then the first. What overlaps nothing before it starts anew.
  template <class Take>
  void for_each_cut(std::string_view text, Take take) const {
    std::vector<Occurrence> group;
    std::size_t group_end = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (at >= group_end && !group.empty()) {
        for (const auto& occurrence : choose_cuts(group)) take(occurrence);
        group.clear();
      }
      for (const auto id : cut_out_[static_cast<unsigned char>(text[at])]) {
        const auto& token = vocabulary_.tokens[id];
        if (!text.substr(at).starts_with(token)) continue;
        group.push_back({at, at + token.size(), id});
        group_end = std::max(group_end, at + token.size());
      }
    }
    for (const auto& occurrence : choose_cuts(group)) take(occurrence);
  }

  static std::vector<Occurrence> choose_cuts(std::vector<Occurrence> all) {
    if (all.size() < 2) return all;
    std::sort(all.begin(), all.end(), [](const Occurrence& a, const Occurrence& b) {
      const auto key = [](const Occurrence& o) {
        return std::make_tuple(o.begin - o.end, o.id, o.begin);  // longest first: wraps around
      };
      return key(a) < key(b);
    });
    std::map<std::size_t, Occurrence> chosen;  // by begin
    for (const auto& occurrence : all) {
      const auto after = chosen.lower_bound(occurrence.begin);
      if (after != chosen.end() && after->first < occurrence.end) continue;
      if (after != chosen.begin() && std::prev(after)->second.end > occurrence.begin) continue;
      chosen.emplace_hint(after, occurrence.begin, occurrence);
    }
    std::vector<Occurrence> cuts;
    cuts.reserve(chosen.size());
    for (const auto& [begin, occurrence] : chosen) cuts.push_back(occurrence);
    return cuts;
  }

  GgufVocabulary vocabulary_;
  std::string name_;
  TokenIndex index_;                                   // views of vocabulary_.tokens
  std::array<std::vector<std::size_t>, 256> cut_out_;  // ids by the first byte of the token
  bool cuts_out_letters_ = false;
  std::unique_ptr<FragmentEncoder> encoder_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufFile& file) {
  return std::make_unique<GgufTokenizer>(read_gguf_vocabulary(file), file.path());
}

std::unique_ptr<Tokenizer> open_gguf_tokenizer(const std::string& path) {
  return make_gguf_tokenizer(*GgufFile::open(path));
}

}  // namespace lowbank::tokenizers
