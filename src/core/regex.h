#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace lowbank {

/// A text that is no regular expression: "'PATTERN' is no regular expression: REASON at byte N".
class RegexError : public ConfigError {
 public:
  RegexError(const std::string& pattern, std::string reason, std::size_t position);
  /// What PCRE2 says is wrong.
  const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

struct RegexOptions {
  bool is_multiline = false;  ///< ^ and $ match at the ends of lines, not only of the text
};

/// A Perl-compatible regular expression over UTF-8 text, in which \w, \d and \s know all of
/// Unicode; compiled by PCRE2's JIT compiler where there is one. May be used by several threads.
class Regex {
 public:
  /// Errors: RegexError for a pattern that cannot be compiled.
  explicit Regex(const std::string& pattern, const RegexOptions& options = {});

  /// The first match in text[from, end), which is well-formed UTF-8: false if there is none.
  /// Errors: ResourceError for a match that takes more than PCRE2's limits of steps and memory.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;
  /// Whether it matches anywhere in `text`.
  bool is_in(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace lowbank
