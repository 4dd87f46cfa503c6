#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace lowbank {

/// A pattern that PCRE2 cannot compile: "'PATTERN' is no regular expression: REASON at byte N".
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

/// A Perl-compatible regular expression over UTF-8 text, in which \w, \d and \s cover all of
/// Unicode. PCRE2's JIT compiler compiles it where the processor has one. Several threads may use
/// it at the same time.
class Regex {
 public:
  /// Errors: RegexError for a pattern that cannot be compiled.
  explicit Regex(const std::string& pattern, const RegexOptions& options = {});

  /// Finds the first match in text[from, end of text); `text` must be well-formed UTF-8. Returns
  /// false if there is no match, else sets [begin, end) to its bytes.
  /// Errors: ResourceError for a match that exceeds PCRE2's limits of steps and memory.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;
  /// Whether the expression matches anywhere in `text`.
  bool is_in(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace lowbank
