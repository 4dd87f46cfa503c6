#pragma once

#include <string>
#include <string_view>

namespace lowbank::tokenizers {

/// U+FFFD.
inline constexpr std::string_view kReplacementSign = "\xEF\xBF\xBD";

/// Whether some more bytes would make `bytes`, which start no well-formed character, into one.
bool may_become_utf8(std::string_view bytes);

/// `bytes` with each longest start of a character that does not go on replaced by one U+FFFD.
///
/// Source: Unicode 15, section 3.9, "Substitution of Maximal Subparts"; Rust's from_utf8_lossy.
std::string replace_invalid_utf8(std::string_view bytes);

/// Text that arrives in bytes (byte tokens) and leaves in whole characters; bytes that cannot be
/// part of a character become U+FFFD, one each, as sentencepiece decodes them.
class Utf8Stream {
 public:
  /// The characters that are complete with these bytes.
  std::string push(std::string_view bytes);
  /// What is left at the end of the text.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace lowbank::tokenizers
