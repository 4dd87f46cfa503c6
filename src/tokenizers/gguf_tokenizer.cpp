#include "tokenizers/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <queue>
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
#include "tokenizers/unicode.h"
#include "tokenizers/utf8_stream.h"

namespace lowbank::tokenizers {
namespace {

constexpr std::string_view kGgufSpace = "\xE2\x96\x81";  // U+2581 stands for a space in tokens
constexpr char32_t kReplacementCodePoint = 0xFFFD;

using TokenIndex = std::unordered_map<std::string_view, std::int64_t>;

// Code point at text[at], which is moved past it; U+FFFD and one byte where there is none. Longer
// spellings than needed are read as llama.cpp reads them.
char32_t lenient_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) {
    at += 1;
    return first;
  }
  const std::size_t size = first < 0xC0 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  bool is_whole = size != 0 && first < 0xF8 && at + size <= text.size();
  for (std::size_t i = 1; is_whole && i < size; ++i) is_whole = (byte(i) & 0xC0U) == 0x80;
  char32_t c = kReplacementCodePoint;
  if (is_whole) {
    c = first & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) c = c << 6 | (byte(i) & 0x3FU);
    is_whole = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
  }
  at += is_whole ? size : 1;
  return is_whole ? c : kReplacementCodePoint;
}

/// Encodes the text between two special tokens.
class FragmentEncoder {
 public:
  virtual ~FragmentEncoder() = default;
  /// Appends to `out`; `start` is where the fragment begins in the text, for ends.
  virtual void encode(std::string_view fragment, bool is_after_special, std::size_t start,
                      bool with_ends, Encoding& out) const = 0;
};

/// gpt2: the pipeline of a tokenizer.json.
class ByteBpeEncoder : public FragmentEncoder {
 public:
  ByteBpeEncoder(const GgufVocabulary& vocabulary, const std::string& name)
      : tokenizer_(make_json_tokenizer(byte_bpe_json(vocabulary), name)) {}

  void encode(std::string_view fragment, bool /*is_after_special*/, std::size_t start,
              bool with_ends, Encoding& out) const override {
    if (find_invalid_utf8(fragment) == std::string::npos) {
      append(fragment, start, {}, with_ends, out);
      return;
    }
    std::string mended;
    std::vector<std::size_t>
        origins;  // where the character ends that a byte of `mended` is part of
    for (std::size_t at = 0; at < fragment.size();) {
      append_utf8(mended, lenient_code_point(fragment, at));
      origins.resize(mended.size(), at);
    }
    append(mended, start, origins, with_ends, out);
  }

 private:
  void append(std::string_view text, std::size_t start, const std::vector<std::size_t>& origins,
              bool with_ends, Encoding& out) const {
    if (!with_ends) {
      const auto ids = tokenizer_->encode(text);
      out.ids.insert(out.ids.end(), ids.begin(), ids.end());
      return;
    }
    const auto encoding = tokenizer_->encode_with_offsets(text);
    out.ids.insert(out.ids.end(), encoding.ids.begin(), encoding.ids.end());
    for (const auto end : encoding.ends) {
      const auto end_bytes = static_cast<std::size_t>(end);
      const std::size_t own = origins.empty() || end == 0 ? end_bytes : origins[end_bytes - 1];
      out.ends.push_back(static_cast<std::int64_t>(start + own));
    }
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

/// llama: characters joined pair by pair, the pair with the best score first; what is no token in
/// the end becomes byte tokens.
class ScoreBpeEncoder : public FragmentEncoder {
 public:
  ScoreBpeEncoder(const GgufVocabulary& vocabulary, const TokenIndex& index)
      : vocabulary_(vocabulary), index_(index) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      auto found = index.find(fmt::format("<0x{:02X}>", byte));
      const char alone = static_cast<char>(byte);
      if (found == index.end()) found = index.find(std::string_view(&alone, 1));
      byte_ids_[byte] = found != index.end() ? found->second : vocabulary.unk.value_or(0);
    }
  }

  void encode(std::string_view fragment, bool is_after_special, std::size_t start, bool with_ends,
              Encoding& out) const override {
    const bool has_prefix = vocabulary_.add_space_prefix && is_after_special;
    std::string text(has_prefix ? kGgufSpace : "");
    for (const char c : fragment) {
      if (c == ' ') {
        text += kGgufSpace;
      } else {
        text += c;
      }
    }
    if (text.size() > std::numeric_limits<std::int32_t>::max()) {
      throw ConfigError(
          fmt::format("a text of {} bytes; at most 2 GiB can be encoded at once", fragment.size()));
    }
    auto symbols = split(text);
    merge(text, symbols);

    // Byte by byte: a character that is cut off swallows part of the mark of a space behind it.
    std::size_t at = 0;  // in the fragment
    std::size_t prefix_left = has_prefix ? kGgufSpace.size() : 0;
    std::size_t mark_left = 0;
    const auto advance = [&](std::size_t num_bytes) {
      for (; num_bytes > 0; --num_bytes) {
        if (prefix_left > 0) {
          --prefix_left;
          continue;
        }
        if (mark_left == 0) mark_left = fragment[at] == ' ' ? kGgufSpace.size() : 1;
        if (--mark_left == 0) ++at;
      }
    };
    for (std::int32_t i = text.empty() ? -1 : 0; i >= 0; i = symbols[std::size_t(i)].next) {
      const std::string_view piece = symbols[std::size_t(i)].in(text);
      const auto token = index_.find(piece);
      const std::size_t num_ids = token != index_.end() ? 1 : piece.size();
      if (token != index_.end()) {
        out.ids.push_back(token->second);
      } else {
        for (const char c : piece) out.ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
      }
      if (!with_ends) continue;
      out.ends.resize(out.ends.size() + num_ids - 1, static_cast<std::int64_t>(start + at));
      advance(piece.size());
      out.ends.push_back(static_cast<std::int64_t>(start + at));
    }
  }

 private:
  struct Symbol {
    std::int32_t previous = -1;
    std::int32_t next = -1;
    std::int32_t begin = 0;
    std::int32_t size = 0;  // 0: joined to the one before
    std::string_view in(std::string_view text) const {
      return text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
    }
  };
  struct Pair {
    float score = 0.0F;
    std::int32_t left = 0;
    std::int32_t right = 0;
    std::int32_t size = 0;  // of both when they met; other sizes mean that it is out of date
    bool operator<(const Pair& other) const {
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  static std::vector<Symbol> split(std::string_view text) {
    std::vector<Symbol> symbols;
    symbols.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      // Any byte starts a character here, by its upper four bits alone.
      const auto high = static_cast<unsigned char>(text[at]) >> 4;
      const std::size_t size = std::min<std::size_t>(high < 12    ? 1
                                                     : high < 14  ? 2
                                                     : high == 14 ? 3
                                                                  : 4,
                                                     text.size() - at);
      const auto index = static_cast<std::int32_t>(symbols.size());
      symbols.push_back({.previous = index - 1,
                         .next = at + size == text.size() ? -1 : index + 1,
                         .begin = static_cast<std::int32_t>(at),
                         .size = static_cast<std::int32_t>(size)});
      at += size;
    }
    return symbols;
  }

  void merge(std::string_view text, std::vector<Symbol>& symbols) const {
    std::priority_queue<Pair> pairs;
    const auto symbol = [&](std::int32_t i) -> Symbol& {
      return symbols[static_cast<std::size_t>(i)];
    };
    const auto consider = [&](std::int32_t left, std::int32_t right) {
      if (left < 0 || right < 0) return;
      Symbol both = symbol(left);
      both.size += symbol(right).size;
      const auto token = index_.find(both.in(text));
      if (token == index_.end()) return;
      pairs.push({.score = vocabulary_.scores[static_cast<std::size_t>(token->second)],
                  .left = left,
                  .right = right,
                  .size = both.size});
    };
    for (std::size_t i = 1; i < symbols.size(); ++i) {
      consider(static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
    }
    while (!pairs.empty()) {
      const Pair best = pairs.top();
      pairs.pop();
      Symbol& left = symbol(best.left);
      Symbol& right = symbol(best.right);
      if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
      left.size = best.size;
      right.size = 0;
      left.next = right.next;
      if (left.next >= 0) symbol(left.next).previous = best.left;
      consider(left.previous, best.left);
      consider(best.left, left.next);
    }
  }

  const GgufVocabulary& vocabulary_;
  const TokenIndex& index_;
  std::array<std::int64_t, 256> byte_ids_{};
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

  void encode(std::string_view fragment, bool /*is_after_special*/, std::size_t start,
              bool /*with_ends*/, Encoding& out) const override {
    Word word;
    const auto finish_word = [&] {
      if (word.text.size() > kGgufSpace.size()) append_word(word, out);
      word.text = kGgufSpace;
      word.ends.assign(kGgufSpace.size(), 0);
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
      word.ends.resize(word.text.size(), start + at);
      if (is_alone) finish_word();
    }
    finish_word();
  }

 private:
  /// A word with the mark of its start; `ends` says where the characters of its bytes end.
  struct Word {
    std::string text;
    std::vector<std::size_t> ends;
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

  void append_word(const Word& word, Encoding& out) const {
    const std::size_t first_id = out.ids.size();
    const std::string_view text = word.text;
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = std::min(text.size(), begin + max_token_bytes_);
      auto token = index_.end();
      for (; end > begin; --end) {
        if (end < text.size() && is_utf8_continuation(text[end])) continue;
        token = index_.find(text.substr(begin, end - begin));
        if (token != index_.end()) break;
      }
      if (token == index_.end()) {
        out.ids.resize(first_id);
        out.ends.resize(first_id);
        break;
      }
      out.ids.push_back(token->second);
      out.ends.push_back(static_cast<std::int64_t>(word.ends[end - 1]));
      begin = end;
    }
    if (out.ids.size() == first_id) {
      out.ids.push_back(*vocabulary_.unk);
      out.ends.push_back(static_cast<std::int64_t>(word.ends.back()));
    }
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
      if (is_cut_out) cut_out_[static_cast<unsigned char>(vocabulary_.tokens[i][0])].push_back(i);
    }
    switch (vocabulary_.model) {
      case GgufVocabulary::Model::kGpt2:
        encoder_ = std::make_unique<ByteBpeEncoder>(vocabulary_, name);
        vocabulary_.merges = {};  // the encoder has them
        break;
      case GgufVocabulary::Model::kLlama:
        encoder_ = std::make_unique<ScoreBpeEncoder>(vocabulary_, index_);
        break;
      case GgufVocabulary::Model::kBert:
        encoder_ = std::make_unique<WordPieceEncoder>(vocabulary_, index_);
        break;
    }
  }

  std::vector<std::int64_t> encode(std::string_view text, bool add_special) const override {
    return encode_text(text, add_special, /*with_ends=*/false).ids;
  }
  Encoding encode_with_offsets(std::string_view text, bool add_special) const override {
    return encode_text(text, add_special, /*with_ends=*/true);
  }

  std::string decode(std::span<const std::int64_t> ids) const override {
    Utf8Stream stream;
    std::string text;
    std::int64_t previous = -1;
    for (const auto id : ids) {
      text += stream.push(decode_piece(previous, id));
      previous = id;
    }
    return text + stream.finish();
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

  // Tokens to cut the text at, in order: of two that overlap the longer one, then the one with the
  // smaller id, then the first.
  std::vector<Occurrence> find_cuts(std::string_view text) const {
    std::vector<Occurrence> all;
    for (std::size_t at = 0; at < text.size(); ++at) {
      for (const auto id : cut_out_[static_cast<unsigned char>(text[at])]) {
        const auto& token = vocabulary_.tokens[id];
        if (text.substr(at).starts_with(token)) all.push_back({at, at + token.size(), id});
      }
    }
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

  Encoding encode_text(std::string_view text, bool add_special, bool with_ends) const {
    Encoding out;
    const auto add_token = [&](std::int64_t id, std::size_t end) {
      out.ids.push_back(id);
      out.ends.push_back(static_cast<std::int64_t>(end));
    };
    const bool is_bert = vocabulary_.model == GgufVocabulary::Model::kBert;
    if (add_special && vocabulary_.bos && (is_bert || vocabulary_.add_bos)) {
      add_token(*vocabulary_.bos, 0);
    }
    std::size_t at = 0;
    bool is_after_special = true;
    const auto add_fragment = [&](std::size_t end) {
      if (end == at) return;
      encoder_->encode(text.substr(at, end - at), is_after_special, at, with_ends, out);
      is_after_special = false;
    };
    for (const auto& cut : find_cuts(text)) {
      add_fragment(cut.begin);
      if (!with_ends) out.ends.clear();
      add_token(static_cast<std::int64_t>(cut.id), cut.end);
      is_after_special = true;
      at = cut.end;
    }
    add_fragment(text.size());
    const auto last = is_bert ? vocabulary_.sep : vocabulary_.eos;
    if (add_special && last && (is_bert || vocabulary_.add_eos)) add_token(*last, text.size());
    return out;
  }

  GgufVocabulary vocabulary_;
  std::string name_;
  TokenIndex index_;                                   // views of vocabulary_.tokens
  std::array<std::vector<std::size_t>, 256> cut_out_;  // ids by the first byte of the token
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
