#include "tokenizers/sentencepiece_normalizer.h"

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

constexpr std::size_t kMaxRules = 32;  // the library looks at no more rules for one place
constexpr std::string_view kReplacementText = "\xEF\xBF\xBD";

std::uint32_t read_word(std::string_view bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    word |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return word;
}

// Parts of a unit of the double array. Source: s-yata/darts-clone, DoubleArrayUnit.
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1U) != 0; }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7FFFFFFFU; }
std::uint32_t label_of(std::uint32_t unit) { return unit & 0x800000FFU; }
std::uint32_t offset_of(std::uint32_t unit) { return unit >> 10 << ((unit & 1U << 9) >> 6); }

}  // namespace

SentencepieceNormalizer::SentencepieceNormalizer(const SentencepieceModel& model)
    : escapes_(model.escape_whitespaces),
      adds_prefix_(model.add_dummy_prefix),
      removes_extra_(model.remove_extra_whitespaces),
      mark_is_suffix_(model.treat_whitespace_as_suffix) {
  // The rules: the size of the double array, the array, texts that end in a NUL.
  const std::string_view blob = model.precompiled_charsmap;
  if (blob.size() > 4) {
    const std::size_t size = std::min<std::size_t>(read_word(blob, 0), blob.size() - 4);
    units_.resize(size / 4);
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read_word(blob, 4 + 4 * i);
    results_ = blob.substr(4 + size);
    results_ += '\0';
  }
  std::vector<PrefixTrie::Entry> user_defined;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].kind != TokenKind::kUserDefined) continue;
    user_defined.emplace_back(model.pieces[i].text, static_cast<std::int32_t>(i));
    user_defined_texts_.push_back(model.pieces[i].text);
  }
  user_defined_ = PrefixTrie(std::move(user_defined));
}

// Moves `node` along `byte`; false where no rule goes on.
bool SentencepieceNormalizer::step(std::uint32_t& node, char byte) const {
  const auto label = static_cast<unsigned char>(byte);
  const std::uint32_t next = node ^ label;
  if (next >= units_.size() || label_of(units_[next]) != label) return false;
  node = next;
  return true;
}

std::size_t SentencepieceNormalizer::find_rule(std::string_view text,
                                               std::string_view& result) const {
  if (units_.empty()) return 0;
  std::size_t longest = 0;
  std::size_t num_found = 0;
  std::uint32_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size() && num_found < kMaxRules; ++i) {
    if (!step(node, text[i])) break;
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit) || node >= units_.size()) continue;
    const std::uint32_t at = value_of(units_[node]);
    if (at >= results_.size()) continue;
    longest = i + 1;
    result = std::string_view(results_.data() + at);
    ++num_found;
  }
  return longest;
}

std::string_view SentencepieceNormalizer::normalize_prefix(std::string_view text,
                                                           std::size_t& size) const {
  if (!user_defined_.is_empty() && user_defined_.longest(text, size) >= 0) {
    return text.substr(0, size);
  }
  std::string_view result;
  size = find_rule(text, result);
  if (size > 0) return result;
  const auto first = static_cast<unsigned char>(text[0]);
  size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (first >= 0x80) {
    const auto character = text.substr(0, size);
    if (character.size() < size || find_invalid_utf8(character) != std::string_view::npos) {
      size = 1;
      return kReplacementText;
    }
  }
  return text.substr(0, size);
}

// Whether a rule or a user-defined piece has a space next to a letter, or rules could not be walked
// through. Looks at every rule once.
bool SentencepieceNormalizer::joins_letters_and_spaces() const {
  const auto is_joint = [](char left, char right) {
    return (left == ' ' && is_ascii_letter(right)) || (right == ' ' && is_ascii_letter(left));
  };
  for (const auto& text : user_defined_texts_) {
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (is_joint(text[i - 1], text[i])) return true;
    }
  }
  if (units_.empty()) return false;
  struct Place {
    std::uint32_t node;
    char last;
  };
  std::vector<Place> open = {{offset_of(units_[0]), '\0'}};
  for (std::size_t num_seen = 0; !open.empty(); ++num_seen) {
    if (num_seen > units_.size()) return true;  // a damaged array may lead in circles
    const Place place = open.back();
    open.pop_back();
    for (unsigned label = 1; label < 256; ++label) {
      const char next = static_cast<char>(label);
      std::uint32_t node = place.node;
      if (!step(node, next)) continue;
      if (is_joint(place.last, next)) return true;
      open.push_back({node ^ offset_of(units_[node]), next});
    }
  }
  return false;
}

std::size_t SentencepieceNormalizer::find_cut(std::string_view text, bool behind_space) const {
  std::call_once(cut_checked_, [&] {
    // The letters and the space next to a cut stand for themselves.
    std::size_t size = 0;
    can_cut_ = normalize_prefix(" ", size) == " " && !joins_letters_and_spaces();
    for (unsigned char c = 'A'; c <= 'z'; ++c) {
      const char letter = static_cast<char>(c);
      if (!is_ascii_letter(letter)) continue;
      const auto result = normalize_prefix({&letter, 1}, size);
      can_cut_ = can_cut_ && !result.empty() && result.find(' ') == std::string_view::npos &&
                 result.find(kWordStart) == std::string_view::npos;
    }
  });
  if (!can_cut_) return 0;
  for (std::size_t space = text.size(); space > 0;) {
    space = text.substr(0, space).rfind(' ');
    if (space == std::string_view::npos) break;
    if (space == 0 || space + 1 >= text.size() || !is_ascii_letter(text[space - 1]) ||
        !is_ascii_letter(text[space + 1])) {
      continue;
    }
    return behind_space ? space + 1 : space;
  }
  return 0;
}

SentencepieceNormalizer::Stream::Stream(const SentencepieceNormalizer& owner, const TextPart& part,
                                        bool behind_space)
    : owner_(owner), part_(part) {
  if (!part.is_first) {
    was_space_ = owner.removes_extra_ && behind_space;
    return;
  }
  std::size_t size = 0;
  while (owner.removes_extra_ && at_ < part.text.size() &&
         owner.normalize_prefix(part.text.substr(at_), size) == " ") {
    at_ += size;
  }
  is_finished_ = at_ == part.text.size();
  was_space_ = owner.removes_extra_;
}

void SentencepieceNormalizer::Stream::put(char c, std::uint32_t origin) {
  for (const auto held : held_marks_) {
    out_->append(owner_.mark());
    if (origins_ != nullptr) origins_->insert(origins_->end(), owner_.mark().size(), held);
  }
  held_marks_.clear();
  out_->push_back(c);
  if (origins_ != nullptr) origins_->push_back(origin);
}

void SentencepieceNormalizer::Stream::put_mark(std::uint32_t origin) {
  if (owner_.removes_extra_) return held_marks_.push_back(origin);
  for (const char c : owner_.mark()) put(c, origin);
}

bool SentencepieceNormalizer::Stream::fill(std::size_t wanted, std::string& out,
                                           std::vector<std::uint32_t>* origins) {
  out_ = &out;
  origins_ = origins;
  if (is_finished_) return false;
  const auto origin = [&] { return static_cast<std::uint32_t>(at_); };
  const bool is_start = part_.is_first && !has_started_;
  if (is_start && owner_.adds_prefix_ && !owner_.mark_is_suffix_) put_mark(origin());
  has_started_ = true;
  while (at_ < part_.text.size()) {
    if (out.size() >= wanted) return true;
    std::size_t size = 0;
    std::string_view piece = owner_.normalize_prefix(part_.text.substr(at_), size);
    while (was_space_ && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      was_space_ = piece.ends_with(' ');
      while (!piece.empty()) {
        // A mark in the text itself is dropped at the end, too.
        const bool is_mark = piece.starts_with(owner_.mark());
        if (is_mark || piece[0] == ' ') {
          put_mark(origin());
        } else {
          put(piece[0], origin());
        }
        piece.remove_prefix(is_mark ? owner_.mark().size() : 1);
      }
    }
    at_ += size;
    if (!owner_.removes_extra_) was_space_ = false;
  }
  is_finished_ = true;
  end_origin_ = origin();
  if (!part_.is_last) {
    // The next part brings what the marks stand before.
    for (const auto held : std::exchange(held_marks_, {})) {
      for (const char c : owner_.mark()) put(c, held);
    }
    return false;
  }
  if (!held_marks_.empty()) end_origin_ = held_marks_.front();
  held_marks_.clear();
  if (owner_.adds_prefix_ && owner_.mark_is_suffix_) {
    for (const char c : owner_.mark()) put(c, end_origin_);
  }
  return false;
}

}  // namespace lowbank::tokenizers
