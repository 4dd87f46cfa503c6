#include "tokenizers/added_tokens.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tokenizers/unicode.h"
#include "tokenizers/vocabulary.h"

namespace lowbank::tokenizers {
namespace {

// A search costs the text's length times the longest token's.
constexpr std::size_t kMaxContentBytes = 4096;

bool starts_with_word(std::string_view text) {
  std::size_t at = 0;
  return !text.empty() && is_word(next_code_point(text, at));
}

bool ends_with_word(std::string_view text) {
  std::size_t at = text.size();
  return !text.empty() && is_word(previous_code_point(text, at));
}

std::size_t skip_spaces_back(std::string_view text, std::size_t at) {
  while (at > 0) {
    std::size_t before = at;
    if (!is_white_space(previous_code_point(text, before))) break;
    at = before;
  }
  return at;
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t after = at;
    if (!is_white_space(next_code_point(text, after))) break;
    at = after;
  }
  return at;
}

AddedToken read_token(const JsonReader& spec) {
  spec.check_keys({"id", "content", "special", "normalized", "lstrip", "rstrip", "single_word"});
  AddedToken token;
  token.content = spec.text("content");
  token.id = static_cast<std::int32_t>(spec.integer("id", 0, kMaxId));
  token.special = spec.flag("special", false);
  token.normalized = spec.flag("normalized", !token.special);
  token.lstrip = spec.flag("lstrip", false);
  token.rstrip = spec.flag("rstrip", false);
  token.single_word = spec.flag("single_word", false);
  if (token.content.size() > kMaxContentBytes) {
    spec.at("content").fail(
        fmt::format("must have at most {} bytes, got {}", kMaxContentBytes, token.content.size()));
  }
  return token;
}

}  // namespace

void TokenMatcher::add(std::string_view content, const AddedToken& token) {
  if (content.empty()) return;
  std::uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[node].children;
    const auto found = std::find_if(children.begin(), children.end(),
                                    [&](const auto& child) { return child.first == byte; });
    if (found != children.end()) {
      node = found->second;
      continue;
    }
    const auto added = static_cast<std::uint32_t>(nodes_.size());
    children.emplace_back(byte, added);
    nodes_.emplace_back();
    node = added;
  }
  if (nodes_[node].token < 0) nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
  contents_.emplace_back(content);
  is_first_byte_[static_cast<unsigned char>(content[0])] = true;
}

bool TokenMatcher::keeps_cuts(std::string_view space) const {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view content = contents_[i];
    // What begins with the space lies behind the cut, where it cannot see the letter before it.
    const bool misses_letter = tokens_[i].single_word && content.starts_with(space);
    // A text behind a token may get a prefix, or the token takes the space.
    if (misses_letter || is_ascii_letter(content.back())) return false;
    if (has_space_behind_letter(content, space)) return false;
  }
  return true;
}

bool TokenMatcher::keeps_word_cuts() const {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].rstrip) return false;  // it ends behind the space
    for (std::size_t at = 0; at < contents_[i].size();) {
      const char32_t c = next_code_point(contents_[i], at);
      if (is_white_space(c) || is_chinese_character(c)) return false;
    }
  }
  return true;
}

std::int32_t TokenMatcher::find_longest(std::string_view text, std::size_t at,
                                        std::size_t& end) const {
  std::int32_t best = -1;
  std::uint32_t node = 0;
  while (at < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const auto& children = nodes_[node].children;
    const auto found = std::find_if(children.begin(), children.end(),
                                    [&](const auto& child) { return child.first == byte; });
    if (found == children.end()) break;
    node = found->second;
    ++at;
    if (nodes_[node].token >= 0) {
      best = nodes_[node].token;
      end = at;
    }
  }
  return best;
}

bool TokenMatcher::next(std::string_view text, std::size_t& from, std::size_t done,
                        Match& match) const {
  for (; from < text.size(); ++from) {
    if (!is_first_byte_[static_cast<unsigned char>(text[from])]) continue;
    std::size_t end = from;
    const std::int32_t found = find_longest(text, from, end);
    if (found < 0) continue;
    const AddedToken& token = tokens_[static_cast<std::size_t>(found)];
    const std::size_t begin = from;
    from = end;
    if (token.id < 0 || (token.single_word && (ends_with_word(text.substr(0, begin)) ||
                                               starts_with_word(text.substr(end))))) {
      --from;  // the loop adds it again
      continue;
    }
    match.begin = token.lstrip ? std::max(skip_spaces_back(text, begin), done) : begin;
    match.end = token.rstrip ? skip_spaces(text, end) : end;
    match.id = token.id;
    return true;
  }
  return false;
}

AddedTokens::AddedTokens(const JsonReader* spec, const WordModel& model,
                         const Normalizer* normalizer, bool finds_special) {
  if (spec == nullptr) return;
  std::map<std::int32_t, AddedToken> by_id;
  const std::int64_t limit =
      2 * static_cast<std::int64_t>(model.texts().size() + spec->size()) + (1 << 16);
  for (std::size_t i = 0; i < spec->size(); ++i) {
    const auto entry = spec->at(i);
    AddedToken token = read_token(entry);
    if (token.id >= limit) {
      entry.at("id").fail(fmt::format("must be below {}, got {}", limit, token.id));
    }
    if (token.content.empty()) continue;
    // A token of the model keeps the model's id, as the peer has it.
    if (const auto known = model.find(token.content); known >= 0) token.id = known;
    if (token.special) special_.push_back(token.content);
    const std::int32_t id = token.id;
    by_id.insert_or_assign(id, std::move(token));
  }
  std::sort(special_.begin(), special_.end());
  // Two tokens may be the same text once normalised; then the special one is found.
  for (const bool special : {true, false}) {
    AlignedText changed;
    for (const auto& [id, token] : by_id) {
      if (token.special != special) continue;
      AddedToken sought = token;
      // It still keeps other tokens from being found inside its text.
      if (special && !finds_special) sought.id = -1;
      if (!token.normalized) {
        raw_.add(token.content, sought);
      } else if (normalizer != nullptr && normalizer->apply({token.content}, changed)) {
        normalized_.add(changed.text, sought);
      } else {
        normalized_.add(token.content, sought);
      }
    }
  }
  for (auto& [id, token] : by_id) tokens_.push_back(std::move(token));
}

const AddedToken* AddedTokens::find(std::int64_t id) const {
  const auto found = std::lower_bound(
      tokens_.begin(), tokens_.end(), id,
      [](const AddedToken& token, std::int64_t wanted) { return token.id < wanted; });
  return found != tokens_.end() && found->id == id ? &*found : nullptr;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& token) {
    return token.content == content;
  });
  return found == tokens_.end() ? nullptr : &*found;
}

bool AddedTokens::is_special(std::string_view content) const {
  return std::binary_search(special_.begin(), special_.end(), content);
}

}  // namespace lowbank::tokenizers
