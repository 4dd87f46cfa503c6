#include "tokenizers/pattern.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "tokenizers/unicode.h"
#include "tokenizers/unicode_tables.h"

namespace lowbank::tokenizers {
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

// Oniguruma's \w: marks, letter numbers, and letters in circles and squares too; outside of a set
// also the numbers of Latin-1.
std::string word_members(bool in_set) {
  return members_of("L") + members_of("M") + members_of("Nd") +
         R"(\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})" +
         (in_set ? "" : R"(\xB2\xB3\xB9\xBC-\xBE)");
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
      } else if (c == '[') {
        open_set();
      } else if (c == '(') {
        open_group();
      } else if (c == ')' && groups_.size() > 1) {
        close_group();
      } else if (c == '{') {
        interval();
      } else {
        const bool begins_atom =
            (static_cast<unsigned char>(c) & 0xC0u) != 0x80 && c != '*' && c != '+' && c != '?';
        if (begins_atom) atom_at_ = out_.size();
        out_ += c;
        ++at_;
      }
    }
    if (in_set_) fail("a set without an end");
    out_.append(groups_.back().num_options, ')');
    return std::move(out_);
  }

 private:
  struct Group {
    std::size_t begin = 0;
    std::size_t num_options = 0;  // options inside, which reach to its end
  };

  [[noreturn]] void fail(std::string_view what) const {
    throw IoError(fmt::format("{}: {} at byte {} of the pattern {} is not supported", where_, what,
                              at_, regex_));
  }
  char ahead(std::size_t count) const {
    return at_ + count < regex_.size() ? regex_[at_ + count] : '\0';
  }
  void put_atom(const std::string& atom) {
    atom_at_ = out_.size();
    out_ += atom;
  }

  // Members of a class, or of the set that stands here.
  void put(const std::string& members, bool negated) {
    if (!in_set_) {
      put_atom((negated ? "[^" : "[") + members + "]");
    } else if (negated) {
      complements_.push_back(members);
    } else {
      members_ += members;
    }
  }

  void escape() {
    const char kind = regex_[at_ + 1];
    if (kind == 'p' || kind == 'P') return property();
    // Letters to Oniguruma; and what a character of several code points is depends on the tables.
    if (std::string_view("QEVX").find(kind) != std::string_view::npos) {
      fail(fmt::format("\\{}", kind));
    }
    const std::string own_form = regex_.substr(at_, escape_size());
    at_ += kind == 'u' ? 2 : own_form.size();
    switch (kind) {
      case 's':
        return put(std::string(kSpaces), false);
      case 'S':
        // One class where there can be one: it is often repeated.
        if (in_set_) {
          members_ += R"(\S\x{180E})";
          return;
        }
        return put(std::string(kSpaces), true);
      case 'd':
      case 'D':
        return put(members_of("Nd"), kind == 'D');
      case 'w':
      case 'W':
        return put(word_members(in_set_), kind == 'W');
      case 'h':
      case 'H':
        return put(std::string(kHexDigits), kind == 'H');
      case 'v':
        return put(R"(\x0B)", false);
      case 'b':
      case 'B':
        if (!in_set_) return word_edge(kind == 'b');
        break;
      case 'u': {  // \uHHHH
        const auto digits = regex_.substr(std::min(at_, regex_.size()), 4);
        at_ = std::min(at_ + 4, regex_.size());
        return put_character("\\x{" + digits + "}");
      }
      default:
        break;
    }
    put_character(own_form);
  }

  // With the digits or the name that belong to it, so that no quantifier takes a part of it.
  std::size_t escape_size() const {
    constexpr std::string_view kDigits = "0123456789abcdefABCDEF";
    const char kind = ahead(1);
    const char close = ahead(2) == '{' ? '}' : ahead(2) == '<' ? '>' : '\0';
    const bool takes_name = kind == 'x' || kind == 'o' || kind == 'k' || kind == 'g';
    if (takes_name && close != '\0') {
      const auto end = regex_.find(close, at_);
      if (end == std::string::npos) fail("a name without an end");
      return end + 1 - at_;
    }
    if (kind == 'c') return 3;
    const std::size_t most = kind == 'x' ? 4 : kind >= '0' && kind <= '9' ? 4 : 2;
    const auto digits = kind == 'x' ? kDigits : kDigits.substr(0, 10);
    std::size_t size = 2;
    while (size < most && ahead(size) != '\0' && digits.find(ahead(size)) != std::string::npos) {
      ++size;
    }
    return size;
  }

  void put_character(const std::string& form) {
    if (in_set_) {
      members_ += form;
    } else {
      put_atom(form);
    }
  }

  void word_edge(bool is_edge) {
    const std::string word = "[" + word_members(false) + "]";
    put_atom(fmt::format("(?:(?<={0})(?{1}{0})|(?<!{0})(?{2}{0}))", word, is_edge ? "!" : "=",
                         is_edge ? "=" : "!"));
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
    if (name.size() <= 2) {  // in any case
      for (std::size_t i = 0; i < name.size(); ++i) {
        const bool wants_upper = i == 0;
        const bool is_other =
            wants_upper ? name[i] >= 'a' && name[i] <= 'z' : name[i] >= 'A' && name[i] <= 'Z';
        if (is_other) name[i] = static_cast<char>(name[i] ^ 0x20);
      }
    } else if (name != "Any") {
      // PCRE2's plain script names mean Script_Extensions.
      name.insert(0, "sc:");
    }
    if (name == "C" || name == "Cn") {
      // By what it is not: characters that newer tables have are no longer unassigned.
      std::string assigned = R"(\p{Z})";
      for (const char* category : {"L", "M", "N", "P", "S"}) assigned += members_of(category);
      if (name == "Cn") assigned += R"(\p{Cc}\p{Cf}\p{Co}\p{Cs})";
      put(assigned, !negated);
    } else {
      put(members_of(name), negated);
    }
    at_ = close + 1;
  }

  // "(", with the options (?imx-imx) and (?imx-imx:...): an option outside of a group of its own
  // reaches over "|" to the end of the group around it, and m lets "." match line ends.
  void open_group() {
    if (ahead(1) == '*') fail("(*");
    if (ahead(1) == '?' && ahead(2) == '#') {
      const auto close = regex_.find(')', at_);
      if (close == std::string::npos) fail("a comment without an end");
      at_ = close + 1;
      return;
    }
    const char first = ahead(2);
    const bool has_options = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') ||
                             first == '-' || first == ':' || first == ')';
    if (ahead(1) != '?' || !has_options) {
      groups_.push_back({.begin = out_.size()});
      out_ += '(';
      ++at_;
      return;
    }
    const std::size_t begin = out_.size();
    out_ += "(?";
    for (at_ += 2; ahead(0) != ':' && ahead(0) != ')'; ++at_) {
      const char option = ahead(0);
      if (option != 'i' && option != 'm' && option != 'x' && option != '-') fail("(? option");
      out_ += option == 'm' ? 's' : option;
    }
    out_ += ':';
    if (ahead(0) == ':') {
      groups_.push_back({.begin = begin});
    } else {
      ++groups_.back().num_options;
    }
    ++at_;
  }

  void close_group() {
    out_.append(groups_.back().num_options + 1, ')');
    atom_at_ = groups_.back().begin;
    groups_.pop_back();
    ++at_;
  }

  // {n}, {n,}, {n,m}, {,m}: what follows repeats all of it, and does not make it possessive ("+")
  // or, after {n}, lazy ("?").
  void interval() {
    std::size_t end = at_ + 1;
    const auto skip_digits = [&] {
      const std::size_t begin = end;
      while (end < regex_.size() && regex_[end] >= '0' && regex_[end] <= '9') ++end;
      return end > begin;
    };
    const bool has_least = skip_digits();
    const bool has_comma = end < regex_.size() && regex_[end] == ',';
    if (has_comma) ++end;
    const bool has_most = has_comma && skip_digits();
    if (end >= regex_.size() || regex_[end] != '}' || (!has_least && !has_most)) {
      put_atom("\\{");
      ++at_;
      return;
    }
    ++end;
    out_ += has_least ? "{" : "{0";
    out_ += regex_.substr(at_ + 1, end - at_ - 1);
    at_ = end;
    if (ahead(0) == '+' || (ahead(0) == '?' && !has_comma)) {
      out_.insert(atom_at_, "(?:");
      out_ += ')';
    }
  }

  void open_set() {
    in_set_ = true;
    members_.clear();
    complements_.clear();
    ++at_;
    is_negated_ = ahead(0) == '^';
    if (is_negated_) ++at_;
    if (ahead(0) == ']') {
      members_ = "\\]";
      ++at_;
    }
  }

  void set_member(char c) {
    if (c == '&' && ahead(1) == '&') fail("&& in a set");
    if (c == ']') return close_set();
    if (c == '[') {
      const auto close = regex_.find(":]", at_);
      const std::string name =
          ahead(1) == ':' && close != std::string::npos ? regex_.substr(at_, close + 2 - at_) : "";
      if (name == "[:punct:]") {
        members_ += members_of("P") + members_of("S");
      } else if (name == "[:digit:]") {
        members_ += members_of("Nd");
      } else if (name == "[:space:]") {
        members_ += kSpaces;
      } else {
        fail("a set inside a set");
      }
      at_ = close + 2;
      return;
    }
    members_ += c;
    ++at_;
  }

  // PCRE2 cannot take characters newer than its tables out of a class inside a set, so that the
  // complements are next to it.
  void close_set() {
    in_set_ = false;
    ++at_;
    atom_at_ = out_.size();
    if (complements_.empty()) {
      out_ += (is_negated_ ? "[^" : "[") + members_ + "]";
      return;
    }
    out_ += "(?:";
    if (is_negated_) {
      for (const auto& complement : complements_) out_ += "(?=[" + complement + "])";
      out_ += members_.empty() ? "[" + complements_.back() + "]" : "[^" + members_ + "]";
    } else {
      if (!members_.empty()) out_ += "[" + members_ + "]|";
      for (std::size_t i = 0; i < complements_.size(); ++i) {
        out_ += (i == 0 ? "[^" : "|[^") + complements_[i] + "]";
      }
    }
    out_ += ")";
  }

  const std::string& regex_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  std::size_t atom_at_ = 0;  // where what a quantifier repeats begins
  std::vector<Group> groups_ = std::vector<Group>(1);
  // The set that stands here: its members, and the members of what it has the complement of.
  bool in_set_ = false;
  bool is_negated_ = false;
  std::string members_;
  std::vector<std::string> complements_;
};

Regex compile(const std::string& regex, const std::string& where) {
  try {
    return Regex(Translator(regex, where).run(), {.is_multiline = true});
  } catch (const RegexError& e) {
    throw IoError(fmt::format("{}: cannot read the pattern {}: {}", where, regex, e.reason()));
  }
}

}  // namespace

Pattern::Pattern(const std::string& regex, const std::string& where)
    : regex_(compile(regex, where)), where_(where) {}

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
  try {
    return regex_.find(text, from, begin, end);
  } catch (const ResourceError& e) {
    throw IoError(where_ + ": " + e.what());
  }
}

Pattern read_pattern(const JsonReader& spec) {
  spec.check_keys({"String", "Regex"});
  if (spec.has("Regex")) return {spec.text("Regex"), spec.where()};
  return Pattern::literal(spec.text("String"), spec.where());
}

bool PatternMatches::next(std::size_t& begin, std::size_t& end) {
  if (text_.empty()) return false;
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

}  // namespace lowbank::tokenizers
