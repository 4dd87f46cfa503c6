#include "tokenizers/token_decoder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "tokenizers/pattern.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8_stream.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  std::size_t kept = 0;
  for (; at != std::string::npos; at = text.find(from, kept)) {
    out.append(text, kept, at - kept);
    out += to;
    kept = at + from.size();
  }
  out.append(text, kept);
  text = std::move(out);
}

class ByteLevelDecoder : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    std::string all;
    std::string bytes;
    for (const auto& token : tokens) all += characters_to_bytes(token, bytes) ? bytes : token;
    tokens = {state.keep_bytes ? std::move(all) : replace_invalid_utf8(all)};
  }
  bool is_word_border(const std::string& previous, const std::string& next) const override {
    return next.size() > 2 && next.starts_with("\xC4\xA0") && is_ascii_letter(next[2]) &&
           is_ascii_letter(previous.back());
  }
};

class WordPieceDecoder : public TokenDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0 || !state.at_start) {
        if (token.starts_with(prefix_)) {
          token.erase(0, prefix_.size());
        } else {
          token.insert(0, 1, ' ');
        }
      }
      if (!cleanup_) continue;
      // Source: transformers clean_up_tokenization, in its order.
      constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kCleanups = {
          {{" .", "."},
           {" ?", "?"},
           {" !", "!"},
           {" ,", ","},
           {" ' ", "'"},
           {" n't", "n't"},
           {" 'm", "'m"},
           {" do not", " don't"},
           {" 's", "'s"},
           {" 've", "'ve"},
           {" 're", "'re"}}};
      for (const auto& [from, to] : kCleanups) replace_all(token, from, to);
    }
  }
  bool is_word_border(const std::string& previous, const std::string& next) const override {
    const auto is_letter = [](char c) {
      return is_ascii_letter(c) || static_cast<unsigned char>(c) >= 0x80;
    };
    return !next.starts_with(prefix_) && is_letter(previous.back()) && is_letter(next[0]);
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class MetaspaceDecoder : public TokenDecoder {
 public:
  explicit MetaspaceDecoder(MetaspaceOptions options) : options_(std::move(options)) {}

  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool drops =
          i == 0 && state.at_start && options_.prepend != MetaspaceOptions::Prepend::kNever;
      replace_all(tokens[i], options_.replacement, drops ? "" : " ");
    }
  }

 private:
  MetaspaceOptions options_;
};

class ReplaceDecoder : public TokenDecoder {
 public:
  /// `literal` is the text that the pattern matches, if it is one.
  ReplaceDecoder(Pattern pattern, std::string content, std::optional<std::string> literal,
                 bool is_fused)
      : pattern_(std::move(pattern)),
        content_(std::move(content)),
        literal_(std::move(literal)),
        is_fused_(is_fused) {}

  void decode(std::vector<std::string>& tokens, const DecodeState&) const override {
    for (auto& token : tokens) {
      std::string out;
      std::size_t kept = 0;
      std::size_t begin = 0;
      std::size_t end = 0;
      for (PatternMatches matches(pattern_, token); matches.next(begin, end); kept = end) {
        out.append(token, kept, begin - kept);
        out += content_;
      }
      out.append(token, kept);
      token = std::move(out);
    }
  }
  // In a joined text no match may reach over a space between letters, nor replace the letter before
  // it by something else.
  Blocks blocks() const override {
    if (!is_fused_) return Blocks::kAnywhere;
    if (!literal_ || literal_->empty()) return Blocks::kNever;
    for (std::size_t i = 0; i < literal_->size(); ++i) {
      if (static_cast<unsigned char>((*literal_)[i]) >= 0x80) return Blocks::kNever;
      if (i > 0 && (*literal_)[i] == ' ' && is_ascii_letter((*literal_)[i - 1])) {
        return Blocks::kNever;
      }
    }
    const bool keeps_letter = !is_ascii_letter(literal_->back()) ||
                              (!content_.empty() && is_ascii_letter(content_.back()));
    return *literal_ != " " && keeps_letter ? Blocks::kBetweenWords : Blocks::kNever;
  }
  bool keeps_space_before(char next) const override {
    return !is_fused_ || !literal_->starts_with(std::string{' ', next});
  }

 private:
  Pattern pattern_;
  std::string content_;
  std::optional<std::string> literal_;
  bool is_fused_;
};

class FuseDecoder : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens, const DecodeState&) const override {
    std::string all;
    for (const auto& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

class ByteFallbackDecoder : public TokenDecoder {
 public:
  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (state.keep_bytes || find_invalid_utf8(bytes) == std::string_view::npos) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), std::string(kReplacementSign));
      }
      bytes.clear();
    };
    for (auto& token : tokens) {
      if (const int byte = byte_of(token); byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }

 private:
  // "<0x0A>" -> 0x0A; -1 for other tokens.
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
    unsigned value = 0;
    const char* const end = token.data() + 5;
    return std::from_chars(token.data() + 3, end, value, 16).ptr == end ? static_cast<int>(value)
                                                                        : -1;
  }
};

class StripDecoder : public TokenDecoder {
 public:
  StripDecoder(std::string content, std::int64_t start, std::int64_t stop, bool is_fused)
      : content_(std::move(content)), start_(start), stop_(stop), is_fused_(is_fused) {}

  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    for (auto& token : tokens) {
      // After Fuse the only token is the whole text, and its start may lie behind.
      const std::int64_t start = is_fused_ && !state.at_start ? 0 : start_;
      for (std::int64_t i = 0; i < start && token.starts_with(content_); ++i) {
        token.erase(0, content_.size());
      }
      for (std::int64_t i = 0; i < stop_ && token.ends_with(content_); ++i) {
        token.resize(token.size() - content_.size());
      }
    }
  }
  Blocks blocks() const override {
    return !is_fused_ || stop_ == 0 ? Blocks::kAnywhere : Blocks::kNever;
  }

 private:
  std::string content_;
  std::int64_t start_;
  std::int64_t stop_;
  bool is_fused_;
};

class BpeDecoder : public TokenDecoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}

  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool is_last = state.at_end && i + 1 == tokens.size();
      replace_all(tokens[i], suffix_, is_last ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

class DecoderSequence : public TokenDecoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<TokenDecoder>> steps)
      : steps_(std::move(steps)) {}
  void decode(std::vector<std::string>& tokens, const DecodeState& state) const override {
    for (const auto& step : steps_) step->decode(tokens, state);
  }
  Blocks blocks() const override {
    Blocks blocks = Blocks::kAnywhere;
    for (const auto& step : steps_) blocks = std::max(blocks, step->blocks());
    return blocks;
  }
  bool is_word_border(const std::string& previous, const std::string& next) const override {
    const std::size_t at = next.starts_with("\xC4\xA0") ? 2 : 0;
    return !steps_.empty() && steps_[0]->is_word_border(previous, next) &&
           std::all_of(steps_.begin(), steps_.end(),
                       [&](const auto& step) { return step->keeps_space_before(next[at]); });
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> steps_;
};

// `is_fused`: a step before has joined all tokens.
std::unique_ptr<TokenDecoder> make_step(const JsonReader& spec, bool& is_fused) {
  const std::string type = spec.text("type");
  if (type == "ByteLevel") {
    spec.check_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    is_fused = true;
    return std::make_unique<ByteLevelDecoder>();
  }
  if (type == "WordPiece") {
    spec.check_keys({"type", "prefix", "cleanup"});
    return std::make_unique<WordPieceDecoder>(spec.text("prefix", "##"),
                                              spec.flag("cleanup", true));
  }
  if (type == "Metaspace") return std::make_unique<MetaspaceDecoder>(read_metaspace(spec));
  if (type == "Replace") {
    spec.check_keys({"type", "pattern", "content"});
    const auto pattern = spec.at("pattern");
    std::optional<std::string> literal;
    if (!pattern.has("Regex") && pattern.has("String")) literal = pattern.text("String");
    return std::make_unique<ReplaceDecoder>(read_pattern(pattern), spec.text("content"),
                                            std::move(literal), is_fused);
  }
  if (type == "Fuse") {
    spec.check_keys({"type"});
    is_fused = true;
    return std::make_unique<FuseDecoder>();
  }
  if (type == "ByteFallback") {
    spec.check_keys({"type"});
    return std::make_unique<ByteFallbackDecoder>();
  }
  if (type == "Strip") {
    spec.check_keys({"type", "content", "start", "stop"});
    std::string content;
    append_utf8(content, read_character(spec, "content"));
    return std::make_unique<StripDecoder>(std::move(content), spec.integer("start", 0, kMaxId),
                                          spec.integer("stop", 0, kMaxId), is_fused);
  }
  if (type == "BPEDecoder") {
    spec.check_keys({"type", "suffix"});
    return std::make_unique<BpeDecoder>(spec.text("suffix", "</w>"));
  }
  if (type == "Sequence") {
    spec.check_keys({"type", "decoders"});
    const auto list = spec.at("decoders");
    std::vector<std::unique_ptr<TokenDecoder>> steps;
    for (std::size_t i = 0; i < list.size(); ++i) steps.push_back(make_step(list.at(i), is_fused));
    return std::make_unique<DecoderSequence>(std::move(steps));
  }
  spec.fail(fmt::format(
      "decoder '{}' is not supported; known: ByteLevel, WordPiece, Metaspace, Replace, Fuse, "
      "ByteFallback, Strip, BPEDecoder, Sequence",
      type));
}

}  // namespace

bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x");
}

std::unique_ptr<TokenDecoder> make_token_decoder(const JsonReader& spec) {
  bool is_fused = false;
  return make_step(spec, is_fused);
}

}  // namespace lowbank::tokenizers
