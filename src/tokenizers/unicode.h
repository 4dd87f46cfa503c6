#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbank::tokenizers {

/// Code point at text[at], which is moved past it. The text must be well-formed UTF-8.
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) {
    at += 1;
    return first;
  }
  char32_t c = 0;
  if (first < 0xE0) {
    c = (first & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    at += 2;
  } else if (first < 0xF0) {
    c = (first & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    at += 3;
  } else {
    c = (first & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
        (byte(3) & 0x3Fu);
    at += 4;
  }
  return c;
}

inline constexpr char32_t kReplacementCodePoint = 0xFFFD;

/// Code point at text[at], which is moved past it; U+FFFD and one byte where there is none. Longer
/// spellings than needed are read as llama.cpp reads them.
char32_t lenient_code_point(std::string_view text, std::size_t& at);

/// Code point that ends before text[at], which is moved to its start.
char32_t previous_code_point(std::string_view text, std::size_t& at);

void append_utf8(std::string& out, char32_t c);

inline bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Whether `space` stands behind an ASCII letter in `text`.
bool has_space_behind_letter(std::string_view text, std::string_view space);

inline bool is_utf8_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80; }

/// Character classes as Hugging Face `tokenizers` 0.22 has them.
///
/// Source:  Unicode's White_Space; unicode_tables.h for the rest.
bool is_white_space(char32_t c);
bool is_numeric(char32_t c);          // Nd, Nl, No
bool is_word(char32_t c);             // \w of the Rust crate regex
bool is_punctuation(char32_t c);      // P* (of Unicode 8) and all ASCII signs
bool is_mark(char32_t c);             // Mn, Mc, Me
bool is_nonspacing_mark(char32_t c);  // Mn
bool is_control(char32_t c);          // Cc, Cf, Co but tab and line ends; unassigned ones are none
bool is_chinese_character(char32_t c);  // the blocks that BERT sets apart

/// Full lower case of one character, appended.
void append_lower(std::string& out, char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// True if normal_form would give the text back, found without allocating; false may be wrong.
bool is_surely_normal(std::string_view text, NormalForm form);

/// One stretch of a text that no neighbour can change, and its normal form.
class NormalizedStretches {
 public:
  NormalizedStretches(std::string_view text, NormalForm form) : text_(text), form_(form) {}
  /// False at the end. `begin` and `end` bound the stretch in the text; `normal` is empty where it
  /// stays as it is.
  bool next(std::size_t& begin, std::size_t& end, std::string& normal);

 private:
  std::string_view text_;
  NormalForm form_;
  std::size_t at_ = 0;
  std::vector<std::int32_t> code_points_;
};

/// Bytes as the printable characters of GPT-2's vocabulary, and back.
///
/// Source:  openai/gpt-2 encoder.py bytes_to_unicode: printable Latin-1 stands for itself, the
///          other 68 bytes for U+0100 and on.
char32_t byte_to_character(unsigned char byte);
/// The byte that `c` stands for, or -1.
int character_to_byte(char32_t c);
/// All bytes of `text` as such characters.
std::string bytes_to_characters(std::string_view text);
/// The bytes that `text` stands for; false when it holds other characters.
bool characters_to_bytes(std::string_view text, std::string& bytes);

}  // namespace lowbank::tokenizers
