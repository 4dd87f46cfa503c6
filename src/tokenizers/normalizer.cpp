#include "tokenizers/normalizer.h"

#include <algorithm>
#include <functional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tokenizers/pattern.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}

  bool apply(TextView from, AlignedText& to) const override {
    if (is_surely_normal(from.text, form_)) return false;
    TextRewriter out(from, to);
    NormalizedStretches stretches(from.text, form_);
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string normal;
    while (stretches.next(begin, end, normal)) {
      if (normal.empty() || normal == from.text.substr(begin, end - begin)) {
        out.keep(begin, end);
      } else {
        out.replace(begin, end, normal);
      }
    }
    return true;
  }
  // A letter or a space of ASCII never joins what stands before it.
  std::optional<std::string> space_at_cut() const override { return " "; }
  bool keeps_white_space() const override { return true; }

 private:
  NormalForm form_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  bool apply(TextView from, AlignedText& to) const override {
    TextRewriter out(from, to);
    std::string lower;
    for (std::size_t at = 0; at < from.text.size();) {
      const std::size_t begin = at;
      lower.clear();
      append_lower(lower, next_code_point(from.text, at));
      out.replace(begin, at, lower);
    }
    return true;
  }
  std::optional<std::string> space_at_cut() const override { return " "; }
  bool keeps_white_space() const override { return true; }
};

// Drops the marks.
class StripAccentsNormalizer : public Normalizer {
 public:
  bool apply(TextView from, AlignedText& to) const override {
    TextRewriter out(from, to);
    for (std::size_t at = 0; at < from.text.size();) {
      const std::size_t begin = at;
      if (!is_mark(next_code_point(from.text, at))) out.keep(begin, at);
    }
    return true;
  }
  std::optional<std::string> space_at_cut() const override { return " "; }
  bool keeps_white_space() const override { return true; }
};

class ReplaceNormalizer : public Normalizer {
 public:
  /// `is_space`: the pattern is one space.
  ReplaceNormalizer(Pattern pattern, std::string content, bool is_space)
      : pattern_(std::move(pattern)), content_(std::move(content)), is_space_(is_space) {}

  bool apply(TextView from, AlignedText& to) const override {
    PatternMatches matches(pattern_, from.text);
    std::size_t begin = 0;
    std::size_t end = 0;
    if (!matches.next(begin, end)) return false;
    TextRewriter out(from, to);
    std::size_t kept = 0;
    do {
      out.keep(kept, begin);
      out.replace_from_last(begin, end, content_);  // as the peer counts
      kept = end;
    } while (matches.next(begin, end));
    out.keep(kept, from.text.size());
    return true;
  }
  std::optional<std::string> space_at_cut() const override {
    return is_space_ && !content_.empty() ? std::optional(content_) : std::nullopt;
  }

 private:
  Pattern pattern_;
  std::string content_;
  bool is_space_;
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}

  bool apply(TextView from, AlignedText& to) const override {
    if (from.text.empty() || from.is_continued) return false;
    TextRewriter out(from, to);
    out.replace(0, 0, prefix_);
    out.keep(0, from.text.size());
    return true;
  }
  std::optional<std::string> space_at_cut() const override { return " "; }

 private:
  std::string prefix_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

  bool apply(TextView from, AlignedText& to) const override {
    std::size_t begin = 0;
    std::size_t end = from.text.size();
    while (left_ && begin < end) {
      std::size_t after = begin;
      if (!is_white_space(next_code_point(from.text, after))) break;
      begin = after;
    }
    while (right_ && end > begin) {
      std::size_t before = end;
      if (!is_white_space(previous_code_point(from.text, before))) break;
      end = before;
    }
    if (begin == 0 && end == from.text.size()) return false;
    TextRewriter(from, to).keep(begin, end);
    return true;
  }

 private:
  bool left_;
  bool right_;
};

struct BertOptions {
  bool clean_text = true;
  bool space_chinese = true;
  bool strip_accents = true;
  bool lower = true;
};

// One pass where the peer makes four: its steps look at one character at a time, but for NFD, which
// only reorders and splits what is neither Chinese nor a space.
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(BertOptions options) : options_(options) {}

  bool apply(TextView from, AlignedText& to) const override {
    TextRewriter out(from, to);
    AlignedText cleaned;
    if (!options_.strip_accents || is_surely_normal(from.text, NormalForm::kNfd)) {
      clean(from, out, options_.lower);
      return true;
    }
    TextRewriter first(from, cleaned);
    clean(from, first, false);
    const TextView view = view_of(cleaned, from);
    TextRewriter second(view, to);
    NormalizedStretches stretches(view.text, NormalForm::kNfd);
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string normal;
    std::string kept;
    while (stretches.next(begin, end, normal)) {
      if (normal.empty()) {
        lower_ascii(second, view.text, begin, end);
        continue;
      }
      kept.clear();
      for (std::size_t at = 0; at < normal.size();) {
        const char32_t c = next_code_point(normal, at);
        if (is_nonspacing_mark(c)) continue;
        if (options_.lower) {
          append_lower(kept, c);
        } else {
          append_utf8(kept, c);
        }
      }
      second.replace(begin, end, kept);
    }
    return true;
  }
  std::optional<std::string> space_at_cut() const override { return " "; }
  bool keeps_white_space() const override { return true; }
  bool spaces_chinese() const override { return options_.space_chinese; }

 private:
  void lower_ascii(TextRewriter& out, std::string_view text, std::size_t begin,
                   std::size_t end) const {
    for (std::size_t at = begin; at < end; ++at) {
      const char c = text[at];
      if (options_.lower && c >= 'A' && c <= 'Z') {
        const char lower = static_cast<char>(c + 32);
        out.replace(at, at + 1, {&lower, 1});
      } else {
        out.keep(at, at + 1);
      }
    }
  }

  void clean(TextView from, TextRewriter& out, bool lower) const {
    std::string changed;
    for (std::size_t at = 0; at < from.text.size();) {
      const std::size_t begin = at;
      const char32_t c = next_code_point(from.text, at);
      if (options_.clean_text) {
        if (c == 0 || c == 0xFFFD || is_control(c)) continue;
        if (is_white_space(c)) {
          out.replace(begin, at, " ");
          continue;
        }
      }
      changed.clear();
      const bool is_apart = options_.space_chinese && is_chinese_character(c);
      if (is_apart) out.replace(begin, begin, " ");
      if (lower) {
        append_lower(changed, c);
        out.replace(begin, at, changed);
      } else {
        out.keep(begin, at);
      }
      if (is_apart) out.replace(at, at, " ");
    }
  }

  BertOptions options_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}

  bool apply(TextView from, AlignedText& to) const override {
    bool is_changed = false;
    AlignedText next;
    for (const auto& step : steps_) {
      if (!step->apply(from, next)) continue;
      std::swap(to, next);
      is_changed = true;
      from = view_of(to, from);
    }
    return is_changed;
  }
  // Once a space has become something else, the next steps do not see a space there.
  std::optional<std::string> space_at_cut() const override {
    std::string space = " ";
    for (const auto& step : steps_) {
      const auto becomes = step->space_at_cut();
      if (!becomes || (space != " " && *becomes != " ")) return std::nullopt;
      if (*becomes != " ") space = *becomes;
    }
    return space;
  }
  bool keeps_white_space() const override {
    return std::ranges::all_of(steps_, &Normalizer::keeps_white_space);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonReader& spec) {
  const std::string type = spec.text("type");
  const auto form = [&](NormalForm value) {
    spec.check_keys({"type"});
    return std::make_unique<FormNormalizer>(value);
  };
  if (type == "NFC") return form(NormalForm::kNfc);
  if (type == "NFD") return form(NormalForm::kNfd);
  if (type == "NFKC") return form(NormalForm::kNfkc);
  if (type == "NFKD") return form(NormalForm::kNfkd);
  if (type == "Lowercase") {
    spec.check_keys({"type"});
    return std::make_unique<LowercaseNormalizer>();
  }
  if (type == "StripAccents") {
    spec.check_keys({"type"});
    return std::make_unique<StripAccentsNormalizer>();
  }
  if (type == "Replace") {
    spec.check_keys({"type", "pattern", "content"});
    const auto pattern = spec.at("pattern");
    const bool is_space = pattern.has("String") && pattern.text("String") == " ";
    return std::make_unique<ReplaceNormalizer>(read_pattern(pattern), spec.text("content"),
                                               is_space);
  }
  if (type == "Prepend") {
    spec.check_keys({"type", "prepend"});
    return std::make_unique<PrependNormalizer>(spec.text("prepend"));
  }
  if (type == "Strip") {
    spec.check_keys({"type", "strip_left", "strip_right"});
    return std::make_unique<StripNormalizer>(spec.flag("strip_left"), spec.flag("strip_right"));
  }
  if (type == "BertNormalizer") {
    spec.check_keys({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
    BertOptions options;
    options.clean_text = spec.flag("clean_text", true);
    options.space_chinese = spec.flag("handle_chinese_chars", true);
    options.lower = spec.flag("lowercase", true);
    options.strip_accents = spec.flag("strip_accents", options.lower);
    return std::make_unique<BertNormalizer>(options);
  }
  if (type == "Sequence") {
    spec.check_keys({"type", "normalizers"});
    const auto list = spec.at("normalizers");
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (std::size_t i = 0; i < list.size(); ++i) steps.push_back(make_normalizer(list.at(i)));
    return std::make_unique<NormalizerSequence>(std::move(steps));
  }
  spec.fail(fmt::format(
      "normalizer '{}' is not supported; known: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
      "Replace, Prepend, Strip, BertNormalizer, Sequence",
      type));
}

}  // namespace lowbank::tokenizers
