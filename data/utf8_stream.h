#pragma once

#include <string>
#include <string_view>

namespace lowbank {

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

}  // namespace lowbank
