#include "tokenizers/utf8_stream.h"

#include <algorithm>

#include "core/text.h"

namespace lowbank::tokenizers {
bool may_become_utf8(std::string_view bytes) {
  if (bytes.size() >= 4) return false;
  for (const int fill : {0x80, 0x90, 0xA0}) {  // between them allowed after any lead byte
    std::string longer(bytes);
    while (longer.size() < 4) {
      longer.push_back(static_cast<char>(longer.size() == bytes.size() ? fill : 0x80));
      if (find_invalid_utf8(longer) == std::string_view::npos) return true;
    }
  }
  return false;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  while (true) {
    const std::size_t good = std::min(find_invalid_utf8(bytes), bytes.size());
    out += bytes.substr(0, good);
    bytes.remove_prefix(good);
    if (bytes.empty()) return out;
    out += kReplacementSign;
    std::size_t bad = 1;
    while (bad < bytes.size() && may_become_utf8(bytes.substr(0, bad + 1))) ++bad;
    bytes.remove_prefix(bad);
  }
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  while (!pending_.empty()) {
    const std::size_t good = std::min(find_invalid_utf8(pending_), pending_.size());
    out += pending_.substr(0, good);
    pending_.erase(0, good);
    if (pending_.empty() || may_become_utf8(pending_)) break;
    out += kReplacementSign;
    pending_.erase(0, 1);
  }
  return out;
}

std::string Utf8Stream::finish() {
  std::string out;
  for (std::size_t i = 0; i < pending_.size(); ++i) out += kReplacementSign;
  pending_.clear();
  return out;
}

}  // namespace lowbank::tokenizers
