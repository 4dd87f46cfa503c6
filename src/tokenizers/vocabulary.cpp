#include "tokenizers/vocabulary.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tokenizers/text_hash.h"

namespace lowbank::tokenizers {
namespace {

std::vector<std::pair<std::string, std::int32_t>> read_entries(const JsonReader& spec) {
  spec.check_object();
  std::vector<std::pair<std::string, std::int32_t>> entries;
  entries.reserve(spec.value().size());
  // A file may leave holes for tokens that it adds elsewhere, but not for a table that fills
  // memory.
  const std::int64_t limit = 2 * static_cast<std::int64_t>(spec.value().size()) + (1 << 16);
  std::vector<bool> is_used;
  for (const auto& [token, id] : spec.value().items()) {
    const bool fits = id.is_number_integer() && id >= 0 && id < limit;
    if (!fits) {
      spec.fail(fmt::format("id of token '{}' must be an integer in [0, {}), got {}", token, limit,
                            id.dump()));
    }
    const auto value = id.get<std::size_t>();
    if (value >= is_used.size()) is_used.resize(value + 1);
    if (is_used[value]) spec.fail(fmt::format("two tokens have id {}", value));
    is_used[value] = true;
    entries.emplace_back(token, static_cast<std::int32_t>(value));
  }
  return entries;
}

std::vector<std::string> table_of(std::vector<std::pair<std::string, std::int32_t>>& entries) {
  std::int32_t size = 0;
  for (const auto& entry : entries) size = std::max(size, entry.second + 1);
  std::vector<std::string> texts(static_cast<std::size_t>(size));
  for (auto& [token, id] : entries) texts[static_cast<std::size_t>(id)] = std::move(token);
  return texts;
}

std::vector<std::int32_t> ids_of(const std::vector<std::pair<std::string, std::int32_t>>& entries) {
  std::vector<std::int32_t> ids;
  ids.reserve(entries.size());
  for (const auto& entry : entries) ids.push_back(entry.second);
  return ids;
}

}  // namespace

StringIndex::StringIndex(const std::vector<std::string>& texts,
                         const std::vector<std::int32_t>& ids)
    : texts_(texts), slots_(std::bit_ceil(2 * ids.size() + 2), -1) {
  const std::size_t mask = slots_.size() - 1;
  for (const auto id : ids) {
    std::size_t at = hash_text(texts[static_cast<std::size_t>(id)]) & mask;
    while (slots_[at] >= 0) at = (at + 1) & mask;
    slots_[at] = id;
  }
}

std::int32_t StringIndex::find(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash_text(text) & mask; slots_[at] >= 0; at = (at + 1) & mask) {
    if (texts_[static_cast<std::size_t>(slots_[at])] == text) return slots_[at];
  }
  return -1;
}

Vocabulary::Vocabulary(std::vector<std::pair<std::string, std::int32_t>> entries)
    : ids_(ids_of(entries)), index_((texts_ = table_of(entries), texts_), ids_) {}

Vocabulary::Vocabulary(const JsonReader& spec) : Vocabulary(read_entries(spec)) {}

}  // namespace lowbank::tokenizers
