#include "tokenizers/unicode.h"

#include <algorithm>
#include <array>
#include <utf8proc.h>

#include "tokenizers/unicode_tables.h"

namespace lowbank::tokenizers {
namespace {

template <std::size_t Size>
const CodePointRange* find_range(const CodePointRange (&ranges)[Size], char32_t c) {
  const auto* const found =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const CodePointRange& r) { return value <= r.last; });
  return found != std::end(ranges) && found->first <= c ? found : nullptr;
}

template <std::size_t Size>
bool is_in(const CodePointRange (&ranges)[Size], char32_t c) {
  return find_range(ranges, c) != nullptr;
}

bool is_ascii_sign(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

utf8proc_option_t options_of(NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  return static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
                                        (compatible ? UTF8PROC_COMPAT : 0));
}

bool composes(NormalForm form) { return form == NormalForm::kNfc || form == NormalForm::kNfkc; }

// The longest decomposition of one character, U+FDFA, has 18.
constexpr std::size_t kMaxDecomposed = 32;

bool is_inert(std::int32_t c) {
  return c >= 0x300 && is_in(kUnknownToFormsRanges, static_cast<char32_t>(c));
}

int combining_class(std::int32_t c) {
  return is_inert(c) ? 0 : utf8proc_get_property(c)->combining_class;
}

// Decomposition of `c`, appended; whether it may join what stands before it: a mark, or the second
// part of a Hangul syllable.
bool append_decomposed(std::vector<std::int32_t>& out, char32_t c, NormalForm form) {
  if (is_inert(static_cast<std::int32_t>(c))) {
    out.push_back(static_cast<std::int32_t>(c));
    return false;
  }
  std::array<utf8proc_int32_t, kMaxDecomposed> parts{};
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                             static_cast<utf8proc_ssize_t>(parts.size()),
                                             options_of(form), &boundary);
  out.insert(out.end(), parts.begin(), parts.begin() + std::max<utf8proc_ssize_t>(count, 0));
  const auto category = utf8proc_category(parts[0]);
  const bool is_jamo =
      (parts[0] >= 0x1161 && parts[0] <= 0x1175) || (parts[0] >= 0x11A8 && parts[0] <= 0x11C2);
  return is_jamo || (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME);
}

// Canonical order: runs of marks, stably by class. Source: Unicode 15, section 3.11, D109.
void order_marks(std::vector<std::int32_t>& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end =
        std::find_if(begin, text.end(), [](std::int32_t c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [](std::int32_t a, std::int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    begin = end;
  }
}

}  // namespace

char32_t lenient_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) {
    at += 1;
    return first;
  }
  const std::size_t size = first < 0xC0 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  bool is_whole = size != 0 && first < 0xF8 && at + size <= text.size();
  for (std::size_t i = 1; is_whole && i < size; ++i) is_whole = (byte(i) & 0xC0U) == 0x80;
  char32_t c = kReplacementCodePoint;
  if (is_whole) {
    c = first & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) c = c << 6 | (byte(i) & 0x3FU);
    is_whole = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
  }
  at += is_whole ? size : 1;
  return is_whole ? c : kReplacementCodePoint;
}

char32_t previous_code_point(std::string_view text, std::size_t& at) {
  do {
    --at;
  } while (at > 0 && is_utf8_continuation(text[at]));
  std::size_t start = at;
  return next_code_point(text, start);
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0u | c >> 6);
    put(0x80u | (c & 0x3Fu));
  } else if (c < 0x10000) {
    put(0xE0u | c >> 12);
    put(0x80u | (c >> 6 & 0x3Fu));
    put(0x80u | (c & 0x3Fu));
  } else {
    put(0xF0u | c >> 18);
    put(0x80u | (c >> 12 & 0x3Fu));
    put(0x80u | (c >> 6 & 0x3Fu));
    put(0x80u | (c & 0x3Fu));
  }
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : is_in(kNumericRanges, c); }

bool is_word(char32_t c) { return is_in(kWordRanges, c); }

bool is_punctuation(char32_t c) {
  return c < 0x80 ? is_ascii_sign(c) : is_in(kPunctuationRanges, c);
}

bool is_mark(char32_t c) { return c >= 0x300 && is_in(kMarkRanges, c); }

bool is_nonspacing_mark(char32_t c) { return c >= 0x300 && is_in(kNonspacingMarkRanges, c); }

bool is_control(char32_t c) {
  if (c < 0x80) return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
  return is_in(kControlRanges, c);
}

bool is_chinese_character(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  } else if (c == 0x130) {
    out += "i\xCC\x87";  // the one lower case of two characters (Unicode's SpecialCasing.txt)
  } else if (const auto* const newer = std::lower_bound(
                 std::begin(kLowerAdditions), std::end(kLowerAdditions), c,
                 [](const CodePointRange& pair, char32_t value) { return pair.first < value; });
             newer != std::end(kLowerAdditions) && newer->first == c) {
    append_utf8(out, newer->last);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

bool is_surely_normal(std::string_view text, NormalForm form) {
  // Latin-1 is its own NFC; only ASCII is its own form under the other three.
  if (form == NormalForm::kNfc) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0xC4; });
  }
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool NormalizedStretches::next(std::size_t& begin, std::size_t& end, std::string& normal) {
  if (at_ == text_.size()) return false;
  begin = at_;
  normal.clear();
  // ASCII before ASCII stays as it is.
  std::size_t ascii = at_;
  while (ascii < text_.size() && static_cast<unsigned char>(text_[ascii]) < 0x80) ++ascii;
  if (ascii < text_.size() && ascii > at_) --ascii;
  if (ascii > at_) {
    end = at_ = ascii;
    return true;
  }
  code_points_.clear();
  append_decomposed(code_points_, next_code_point(text_, at_), form_);
  while (at_ < text_.size()) {
    const std::size_t size = code_points_.size();
    std::size_t after = at_;
    if (!append_decomposed(code_points_, next_code_point(text_, after), form_)) {
      code_points_.resize(size);
      break;
    }
    at_ = after;
  }
  order_marks(code_points_);
  auto count = static_cast<utf8proc_ssize_t>(code_points_.size());
  if (composes(form_)) {
    count = utf8proc_normalize_utf32(
        code_points_.data(), count,
        static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    append_utf8(normal, static_cast<char32_t>(code_points_[static_cast<std::size_t>(i)]));
  }
  end = at_;
  return true;
}

char32_t byte_to_character(unsigned char byte) {
  if (byte <= 0x20) return 0x100u + byte;
  if (byte >= 0x7F && byte <= 0xA0) return 0x121u + (byte - 0x7Fu);
  if (byte == 0xAD) return 0x143;
  return byte;
}

int character_to_byte(char32_t c) {
  if (c >= 0x100 && c <= 0x143) {
    if (c <= 0x120) return static_cast<int>(c - 0x100);
    return c == 0x143 ? 0xAD : static_cast<int>(c - 0x121 + 0x7F);
  }
  const bool is_own = (c > 0x20 && c < 0x7F) || (c > 0xA0 && c <= 0xFF && c != 0xAD);
  return is_own ? static_cast<int>(c) : -1;
}

std::string bytes_to_characters(std::string_view text) {
  std::string out;
  for (const char c : text) append_utf8(out, byte_to_character(static_cast<unsigned char>(c)));
  return out;
}

bool characters_to_bytes(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (std::size_t at = 0; at < text.size();) {
    const int byte = character_to_byte(next_code_point(text, at));
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
  }
  return true;
}

bool has_space_behind_letter(std::string_view text, std::string_view space) {
  for (auto at = text.find(space, 1); at != text.npos; at = text.find(space, at + 1)) {
    if (is_ascii_letter(text[at - 1])) return true;
  }
  return false;
}

}  // namespace lowbank::tokenizers
