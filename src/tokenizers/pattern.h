#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/json_reader.h"
#include "core/regex.h"

namespace lowbank::tokenizers {

/// A regular expression as `tokenizers` reads it, matched by PCRE2 with its JIT compiler.
///
/// Source:  Oniguruma's Ruby syntax (kkos/oniguruma doc/RE) for what a pattern means.
/// Differs: patterns with what PCRE2 reads otherwise and nobody writes in a tokenizer (sets inside
///          sets, &&, \X) are refused. Regardless of case, one letter never equals two (ss and the
///          sharp s); scripts but Han are those of PCRE2's Unicode tables.
class Pattern {
 public:
  /// Errors: IoError "WHERE: ..." when it cannot be compiled.
  Pattern(const std::string& regex, const std::string& where);
  /// Matches `text` itself.
  static Pattern literal(std::string_view text, const std::string& where);

  /// First match in text[from, end): false if none. The text must be well-formed UTF-8.
  /// Errors: IoError when the pattern takes too many steps.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;

 private:
  Regex regex_;
  std::string where_;
};

/// {"String": "..."} or {"Regex": "..."}.
Pattern read_pattern(const JsonReader& spec);

/// All matches, one after the other, as Oniguruma's iterator gives them: an empty match right after
/// a match is passed over, and an empty text has none.
class PatternMatches {
 public:
  PatternMatches(const Pattern& pattern, std::string_view text) : pattern_(pattern), text_(text) {}
  bool next(std::size_t& begin, std::size_t& end);

 private:
  const Pattern& pattern_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t last_end_ = std::string_view::npos;
};

}  // namespace lowbank::tokenizers
