#include "tokenizers/pre_tokenizer.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "tokenizers/gguf_pre_tokenizer.h"
#include "tokenizers/pattern.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

// Source: openai/gpt-2 encoder.py.
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of the matches of a pattern that cuts.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Joins matches and what lies between them into parts. Takes them all, in order.
class Cutter {
 public:
  Cutter(TextView piece, Behavior behavior, PieceSink& out)
      : piece_(piece), behavior_(behavior), out_(out) {}

  void take(std::size_t begin, std::size_t end, bool is_match) {
    const bool joins = has_pending_ && joins_pending(is_match);
    if (joins) {
      pending_end_ = end;
    } else {
      flush();
      pending_begin_ = begin;
      pending_end_ = end;
      has_pending_ = !(behavior_ == Behavior::kRemoved && is_match);
    }
    last_was_match_ = is_match;
  }

  void flush() {
    if (has_pending_) out_.take(piece_.part(pending_begin_, pending_end_));
    has_pending_ = false;
  }

 private:
  bool joins_pending(bool is_match) const {
    switch (behavior_) {
      case Behavior::kMergedWithPrevious:
        return is_match && !last_was_match_;
      case Behavior::kMergedWithNext:
        return !is_match && last_was_match_;
      case Behavior::kContiguous:
        return is_match == last_was_match_;
      case Behavior::kRemoved:
      case Behavior::kIsolated:
        break;
    }
    return false;
  }

  TextView piece_;
  Behavior behavior_;
  PieceSink& out_;
  std::size_t pending_begin_ = 0;
  std::size_t pending_end_ = 0;
  bool has_pending_ = false;
  bool last_was_match_ = false;
};

void cut_by_pattern(const Pattern& pattern, TextView piece, Behavior behavior, bool invert,
                    PieceSink& out) {
  Cutter cutter(piece, behavior, out);
  PatternMatches matches(pattern, piece.text);
  std::size_t cut_to = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  while (matches.next(begin, end)) {
    if (cut_to != begin) cutter.take(cut_to, begin, invert);
    cutter.take(begin, end, !invert);
    cut_to = end;
  }
  if (cut_to != piece.text.size()) cutter.take(cut_to, piece.text.size(), invert);
  cutter.flush();
}

// Every character of which `is_match` holds is a match of its own.
template <class Predicate>
void cut_by_character(Predicate is_match, TextView piece, Behavior behavior, PieceSink& out) {
  Cutter cutter(piece, behavior, out);
  std::size_t cut_to = 0;
  for (std::size_t at = 0; at < piece.text.size();) {
    const std::size_t begin = at;
    if (!is_match(next_code_point(piece.text, at))) continue;
    if (cut_to != begin) cutter.take(cut_to, begin, false);
    cutter.take(begin, at, true);
    cut_to = at;
  }
  if (cut_to != piece.text.size()) cutter.take(cut_to, piece.text.size(), false);
  cutter.flush();
}

class SplitStep : public PreTokenizer {
 public:
  /// `is_known`: the pattern is one that is_known_pattern() names.
  SplitStep(Pattern pattern, Behavior behavior, bool invert, bool is_known)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {
    // The matches become words: nothing is left between them, or it is removed.
    const bool keeps_matches = behavior == (invert ? Behavior::kRemoved : Behavior::kIsolated);
    if (!is_known || !keeps_matches) return;
    // One pair of words stands for all: to the known patterns ASCII letters between which no sign
    // stands are alike.
    const std::string_view words = "ab cd";
    std::size_t begin = 0;
    std::size_t end = 0;
    at_cut_ = AtCut::kKeeps;
    for (PatternMatches matches(pattern_, words); matches.next(begin, end);) {
      if (begin == 2 || end == 2) at_cut_ = AtCut::kSplits;
    }
  }
  void cut(TextView piece, PieceSink& out) const override {
    cut_by_pattern(pattern_, piece, behavior_, invert_, out);
  }
  // The known patterns look neither back nor, from a letter, ahead, and none matches a letter with
  // a space behind it.
  AtCut at_cut() const override { return at_cut_; }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
  AtCut at_cut_ = AtCut::kUnknown;
};

class CharacterStep : public PreTokenizer {
 public:
  CharacterStep(bool (*is_match)(char32_t), Behavior behavior)
      : is_match_(is_match), behavior_(behavior) {}
  void cut(TextView piece, PieceSink& out) const override {
    cut_by_character(is_match_, piece, behavior_, out);
  }
  // No step that is made of this class matches letters.
  AtCut at_cut() const override {
    if (!is_match_(U' ')) return AtCut::kKeeps;
    return behavior_ == Behavior::kRemoved ? AtCut::kSplits : AtCut::kUnknown;
  }
  bool drops_white_space() const override {
    return is_match_ == is_white_space && behavior_ == Behavior::kRemoved;
  }

 private:
  bool (*is_match_)(char32_t);
  Behavior behavior_;
};

class DelimiterStep : public PreTokenizer {
 public:
  explicit DelimiterStep(char32_t delimiter) : delimiter_(delimiter) {}
  void cut(TextView piece, PieceSink& out) const override {
    cut_by_character([this](char32_t c) { return c == delimiter_; }, piece, Behavior::kRemoved,
                     out);
  }

 private:
  char32_t delimiter_;
};

// `\w+|[^\w\s]+`, or words between spaces with every sign on its own (BERT).
class WordStep : public PreTokenizer {
 public:
  explicit WordStep(bool is_bert) : is_bert_(is_bert) {}

  void cut(TextView piece, PieceSink& out) const override {
    std::size_t begin = 0;
    Kind last = Kind::kSpace;
    for (std::size_t at = 0; at < piece.text.size();) {
      const std::size_t start = at;
      const Kind kind = kind_of(next_code_point(piece.text, at));
      if (kind != last || (is_bert_ && kind == Kind::kSign)) {
        if (last != Kind::kSpace) out.take(piece.part(begin, start));
        begin = start;
        last = kind;
      }
    }
    if (last != Kind::kSpace) out.take(piece.part(begin, piece.text.size()));
  }
  AtCut at_cut() const override { return AtCut::kSplits; }
  bool drops_white_space() const override { return true; }

 private:
  enum class Kind { kSpace, kSign, kWord };

  Kind kind_of(char32_t c) const {
    if (is_white_space(c)) return Kind::kSpace;
    if (is_bert_) return is_punctuation(c) ? Kind::kSign : Kind::kWord;
    return is_word(c) ? Kind::kWord : Kind::kSign;
  }

  bool is_bert_;
};

// ByteLevel without its mapping of bytes.
class BytePieceStep : public PreTokenizer {
 public:
  BytePieceStep(bool add_prefix_space, bool use_regex, const std::string& where)
      : add_prefix_space_(add_prefix_space),
        use_regex_(use_regex),
        pattern_(kByteLevelPattern, where) {}

  void cut(TextView piece, PieceSink& out) const override {
    AlignedText spaced;
    if (add_prefix_space_ && !piece.text.starts_with(' ')) {
      TextRewriter rewriter(piece, spaced);
      rewriter.replace(0, 0, " ");
      rewriter.keep(0, piece.text.size());
      piece = view_of(spaced, piece);
    }
    if (use_regex_) {
      cut_by_pattern(pattern_, piece, Behavior::kIsolated, false, out);
    } else {
      out.take(piece);
    }
  }
  // A part that begins with a space gets no other one.
  AtCut at_cut() const override { return use_regex_ ? AtCut::kSplits : AtCut::kKeeps; }

 private:
  bool add_prefix_space_;
  bool use_regex_;
  Pattern pattern_;
};

class ByteMapStep : public PreTokenizer {
 public:
  void cut(TextView piece, PieceSink& out) const override {
    AlignedText mapped;
    for (std::size_t i = 0; i < piece.text.size(); ++i) {
      append_utf8(mapped.text, byte_to_character(static_cast<unsigned char>(piece.text[i])));
      if (piece.is_tracked()) mapped.origins.resize(mapped.text.size(), piece.origin(i));
    }
    out.take(view_of(mapped, piece));
  }
  AtCut at_cut() const override { return AtCut::kKeeps; }
};

class MetaspaceStep : public PreTokenizer {
 public:
  explicit MetaspaceStep(MetaspaceOptions options) : options_(std::move(options)) {}

  void cut(TextView piece, PieceSink& out) const override {
    AlignedText spaced;
    TextRewriter rewriter(piece, spaced);
    using Prepend = MetaspaceOptions::Prepend;
    const std::string& replacement = options_.replacement;
    const bool is_first = piece.is_tracked() && piece.origin(0).begin == 0;
    const bool wants =
        options_.prepend == Prepend::kAlways || (options_.prepend == Prepend::kFirst && is_first);
    if (wants && piece.text[0] != ' ' && !piece.text.starts_with(replacement)) {
      rewriter.replace(0, 0, replacement);
    }
    for (std::size_t at = 0; at < piece.text.size();) {
      const std::size_t space = std::min(piece.text.find(' ', at), piece.text.size());
      rewriter.keep(at, space);
      if (space < piece.text.size()) rewriter.replace(space, space + 1, replacement);
      at = space + 1;
    }
    const TextView view = view_of(spaced, piece);
    if (!options_.split) return out.take(view);
    // Each replacement starts a part.
    std::size_t begin = 0;
    for (std::size_t at = view.text.find(replacement, 0); at != std::string_view::npos;
         at = view.text.find(replacement, at + replacement.size())) {
      out.take(view.part(begin, at));
      begin = at;
    }
    out.take(view.part(begin, view.text.size()));
  }
  // A part that begins with a space gets no replacement in front.
  AtCut at_cut() const override { return options_.split ? AtCut::kSplits : AtCut::kKeeps; }

 private:
  MetaspaceOptions options_;
};

Behavior read_behavior(const JsonReader& spec, const std::string& absent = "") {
  const std::string name = absent.empty() ? spec.text("behavior") : spec.text("behavior", absent);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  spec.at("behavior")
      .fail(fmt::format(
          "'{}' is none of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous",
          name));
}

}  // namespace

/// Hands the parts of one step to the next.
class PreTokenizerChain::NextStep : public PieceSink {
 public:
  NextStep(const PreTokenizerChain& chain, std::size_t step, PieceSink& words)
      : chain_(chain), step_(step), words_(words) {}
  void take(TextView piece) override {
    if (!piece.text.empty()) chain_.run(step_, piece, words_);
  }

 private:
  const PreTokenizerChain& chain_;
  std::size_t step_;
  PieceSink& words_;
};

PreTokenizerChain::PreTokenizerChain(const JsonReader& spec, bool may_give_bytes) {
  add_steps(spec);
  if (may_give_bytes && !steps_.empty() &&
      dynamic_cast<const ByteMapStep*>(steps_.back().get()) != nullptr) {
    steps_.pop_back();
    gives_bytes_ = true;
  }
}

void PreTokenizerChain::add_steps(const JsonReader& spec) {
  const std::string type = spec.text("type");
  if (type != "Sequence") return add_step(spec, type);
  spec.check_keys({"type", "pretokenizers"});
  const auto list = spec.at("pretokenizers");
  for (std::size_t i = 0; i < list.size(); ++i) add_steps(list.at(i));
}

void PreTokenizerChain::add_step(const JsonReader& spec, const std::string& type) {
  const auto add = [this](auto step) {
    steps_.push_back(std::make_unique<decltype(step)>(std::move(step)));
  };
  if (type == "Split") {
    spec.check_keys({"type", "pattern", "behavior", "invert"});
    const auto pattern = spec.at("pattern");
    add(SplitStep(read_pattern(pattern), read_behavior(spec), spec.flag("invert", false),
                  pattern.has("Regex") && is_known_pattern(pattern.text("Regex"))));
  } else if (type == "Digits") {
    spec.check_keys({"type", "individual_digits"});
    add(CharacterStep(is_numeric, spec.flag("individual_digits", false) ? Behavior::kIsolated
                                                                        : Behavior::kContiguous));
  } else if (type == "ByteLevel") {
    spec.check_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    add(BytePieceStep(spec.flag("add_prefix_space"), spec.flag("use_regex", true), spec.where()));
    add(ByteMapStep());
  } else if (type == "Whitespace" || type == "BertPreTokenizer") {
    spec.check_keys({"type"});
    add(WordStep(type == "BertPreTokenizer"));
  } else if (type == "WhitespaceSplit") {
    spec.check_keys({"type"});
    add(CharacterStep(is_white_space, Behavior::kRemoved));
  } else if (type == "Punctuation") {
    spec.check_keys({"type", "behavior"});
    add(CharacterStep(is_punctuation, read_behavior(spec, "Isolated")));
  } else if (type == "CharDelimiterSplit") {
    spec.check_keys({"type", "delimiter"});
    add(DelimiterStep(read_character(spec, "delimiter")));
  } else if (type == "Metaspace") {
    const auto options = read_metaspace(spec);
    needs_origins_ = needs_origins_ || options.prepend == MetaspaceOptions::Prepend::kFirst;
    add(MetaspaceStep(options));
  } else {
    spec.fail(fmt::format(
        "pre-tokenizer '{}' is not supported; known: Split, Digits, ByteLevel, Whitespace, "
        "WhitespaceSplit, Punctuation, BertPreTokenizer, CharDelimiterSplit, Metaspace, Sequence",
        type));
  }
}

void PreTokenizerChain::run(std::size_t step, TextView text, PieceSink& words) const {
  if (step == steps_.size()) return words.take(text);
  NextStep next(*this, step + 1, words);
  steps_[step]->cut(text, next);
}

PreTokenizer::AtCut PreTokenizerChain::at_cut() const {
  for (const auto& step : steps_) {
    const auto at_cut = step->at_cut();
    if (at_cut != PreTokenizer::AtCut::kKeeps) return at_cut;
  }
  return PreTokenizer::AtCut::kKeeps;
}

void PreTokenizerChain::cut(TextView text, PieceSink& words) const {
  if (!text.text.empty()) run(0, text, words);
}

char32_t read_character(const JsonReader& spec, std::string_view key) {
  const std::string value = spec.text(key);
  if (count_code_points(value) != 1) {
    spec.at(key).reject(fmt::format("must be one character; got '{}'", value));
  }
  std::size_t at_start = 0;
  return next_code_point(value, at_start);
}

MetaspaceOptions read_metaspace(const JsonReader& spec) {
  // add_prefix_space and str_rep are how older files say it.
  spec.check_keys(
      {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  MetaspaceOptions options;
  append_utf8(options.replacement, read_character(spec, "replacement"));
  options.split = spec.flag("split", true);
  const std::string scheme =
      spec.text("prepend_scheme", spec.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") {
    options.prepend = MetaspaceOptions::Prepend::kAlways;
  } else if (scheme == "first") {
    options.prepend = MetaspaceOptions::Prepend::kFirst;
  } else if (scheme == "never") {
    options.prepend = MetaspaceOptions::Prepend::kNever;
  } else {
    spec.at("prepend_scheme").fail(fmt::format("'{}' is none of always, first, never", scheme));
  }
  return options;
}

}  // namespace lowbank::tokenizers
