#include "data/pattern.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "data/unicode.h"
#include "data/unicode_tables.h"

namespace lowbank {
namespace {

// Unicode's White_Space; PCRE2's own \s has U+180E as well.
constexpr std::string_view kSpaces = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kHexDigits = "0-9a-fA-F";

// What a category has gained since PCRE2's tables.
std::string additions_to(std::string_view category) {
  const auto list = [](const auto& ranges) {
    std::string out;
    for (const CodePointRange& range : ranges) {
      out += fmt::format("\\x{{{:X}}}", static_cast<std::uint32_t>(range.first));
      if (range.last == range.first) continue;
      out += fmt::format("-\\x{{{:X}}}", static_cast<std::uint32_t>(range.last));
    }
    return out;
  };
  if (category == "L") return list(kLAdditions);
  if (category == "Lu") return list(kLuAdditions);
  if (category == "Ll") return list(kLlAdditions);
  if (category == "Lm") return list(kLmAdditions);
  if (category == "Lo") return list(kLoAdditions);
  if (category == "M") return list(kMAdditions);
  if (category == "Mn") return list(kMnAdditions);
  if (category == "Mc") return list(kMcAdditions);
  if (category == "N") return list(kNAdditions);
  if (category == "Nd") return list(kNdAdditions);
  if (category == "No") return list(kNoAdditions);
  if (category == "P") return list(kPAdditions);
  if (category == "Po") return list(kPoAdditions);
  if (category == "S") return list(kSAdditions);
  if (category == "So") return list(kSoAdditions);
  if (category == "Sm") return list(kSmAdditions);
  if (category == "sc:Han") return list(kHanAdditions);
  return "";
}

std::string members_of(const std::string& property) {
  return "\\p{" + property + "}" + additions_to(property);
}

/// A pattern in PCRE2's words, character by character.
class Translator {
 public:
  Translator(const std::string& regex, const std::string& where) : regex_(regex), where_(where) {}

  std::string run() {
    while (at_ < regex_.size()) {
      const char c = regex_[at_];
      if (c == '\\' && at_ + 1 < regex_.size()) {
        escape();
      } else if (in_set_) {
        set_member(c);
      } else {
        out_ += c;
        ++at_;
        if (c == '[') open_set();
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw IoError(fmt::format("{}: {} at byte {} of the pattern {} is not supported", where_, what,
                              at_, regex_));
  }
  char ahead(std::size_t count) const {
    return at_ + count < regex_.size() ? regex_[at_ + count] : '\0';
  }

  // Members of a class, or of the set that stands here. A complement inside a set cannot be spelled
  // out; what PCRE2 has for it is right but for characters newer than its tables.
  void put(const std::string& members, bool negated, const std::string& own_form) {
    if (!in_set_) {
      out_ += (negated ? "[^" : "[") + members + "]";
    } else {
      out_ += negated ? own_form : members;
    }
  }

  void escape() {
    const char kind = regex_[at_ + 1];
    const std::string own_form = regex_.substr(at_, 2);
    if (kind == 'p' || kind == 'P') return property();
    at_ += 2;
    switch (kind) {
      case 's':
      case 'S':
        return put(std::string(kSpaces), kind == 'S', own_form);
      case 'd':
      case 'D':
        return put(members_of("Nd"), kind == 'D', own_form);
      case 'w':
      case 'W':
        // Oniguruma's \w has marks, letter numbers, Latin-1's numbers and letters in circles and
        // squares too.
        return put(members_of("L") + members_of("M") + members_of("Nd") +
                       R"(\p{Nl}\p{Pc}\xB2\xB3\xB9\xBC-\xBE\x{24B6}-\x{24E9})"
                       R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})",
                   kind == 'W', own_form);
      case 'h':
      case 'H':
        return put(std::string(kHexDigits), kind == 'H', own_form);
      case 'u':  // \uHHHH
        out_ += "\\x{" + regex_.substr(std::min(at_, regex_.size()), 4) + "}";
        at_ = std::min(at_ + 4, regex_.size());
        return;
      default:
        out_ += own_form;
    }
  }

  // \p{Name}, \P{Name}, \p{^Name}
  void property() {
    const auto close = regex_.find('}', at_);
    if (ahead(2) != '{' || close == std::string::npos) fail("\\p without {name}");
    bool negated = regex_[at_ + 1] == 'P';
    std::string name = regex_.substr(at_ + 3, close - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    constexpr std::array<std::pair<std::string_view, const char*>, 7> kLongNames = {
        {{"Letter", "L"},
         {"Mark", "M"},
         {"Number", "N"},
         {"Punctuation", "P"},
         {"Symbol", "S"},
         {"Separator", "Z"},
         {"Other", "C"}}};
    for (const auto& [long_name, short_name] : kLongNames) {
      if (name == long_name) name = short_name;
    }
    // PCRE2's plain script names mean Script_Extensions.
    if (name.size() > 2 && name != "Any") name.insert(0, "sc:");
    put(members_of(name), negated, "\\P{" + name + "}");
    at_ = close + 1;
  }

  void open_set() {
    in_set_ = true;
    for (const char first : {'^', ']'}) {
      if (ahead(0) != first) continue;
      out_ += first;
      ++at_;
    }
  }

  void set_member(char c) {
    if (c == '&' && ahead(1) == '&') fail("&& in a set");
    if (c == '[') {
      const auto close = regex_.find(":]", at_);
      const std::string name =
          ahead(1) == ':' && close != std::string::npos ? regex_.substr(at_, close + 2 - at_) : "";
      if (name == "[:punct:]") {
        out_ += members_of("P") + members_of("S");
      } else if (name == "[:digit:]") {
        out_ += members_of("Nd");
      } else if (name == "[:space:]") {
        out_ += kSpaces;
      } else {
        fail("a set inside a set");
      }
      at_ = close + 2;
      return;
    }
    if (c == ']') in_set_ = false;
    out_ += c;
    ++at_;
  }

  const std::string& regex_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_set_ = false;
};

// What a thread needs to match; one serves all patterns.
struct MatchScratch {
  MatchScratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(std::size_t{32} << 10, std::size_t{16} << 20, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

MatchScratch& match_scratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Pattern::Code {
  explicit Code(std::string place) : where(std::move(place)) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code = nullptr;
  bool has_jit = false;
  std::string where;
};

Pattern::Pattern(const std::string& regex, const std::string& where) {
  const std::string translated = Translator(regex, where).run();
  auto code = std::make_shared<Code>(where);
  int error = 0;
  PCRE2_SIZE error_at = 0;
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &error, &error_at, nullptr);
  if (code->code == nullptr) {
    throw IoError(
        fmt::format("{}: cannot read the pattern {}: {}", where, regex, message_of(error)));
  }
  code->has_jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

Pattern Pattern::literal(std::string_view text, const std::string& where) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#&").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return {escaped, where};
}

bool Pattern::find(std::string_view text, std::size_t from, std::size_t& begin,
                   std::size_t& end) const {
  MatchScratch& scratch = match_scratch();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto try_match = [&](auto match) {
    return match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, scratch.data,
                 scratch.context);
  };
  int count = code_->has_jit ? try_match(pcre2_jit_match) : PCRE2_ERROR_JIT_STACKLIMIT;
  // Without the JIT's fixed stack it takes longer but needs only heap, within PCRE2's own limit.
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
    count = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        scratch.data, scratch.context);
  }
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0) {
    throw IoError(fmt::format("{}: cannot match the pattern at byte {} of the text: {}",
                              code_->where, from, message_of(count)));
  }
  const PCRE2_SIZE* const pair = pcre2_get_ovector_pointer(scratch.data);
  begin = pair[0];
  end = std::max(pair[0], pair[1]);  // \K in a lookahead may end a match before its start
  return true;
}

Pattern read_pattern(const JsonNode& spec) {
  spec.check_keys({"String", "Regex"});
  if (spec.has("Regex")) return {spec.text("Regex"), spec.where()};
  return Pattern::literal(spec.text("String"), spec.where());
}

bool PatternMatches::next(std::size_t& begin, std::size_t& end) {
  while (at_ <= text_.size()) {
    if (!pattern_.find(text_, at_, begin, end)) return false;
    if (begin != end || last_end_ != end) {
      at_ = end;
      last_end_ = end;
      return true;
    }
    if (at_ == text_.size()) return false;
    next_code_point(text_, at_);
  }
  return false;
}

}  // namespace lowbank
