#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json_reader.h"

namespace lowbank::tokenizers {

/// The largest id or other whole number that a tokenizer's file may hold.
inline constexpr std::int64_t kMaxId = (std::int64_t{1} << 31) - 1;

/// Id of a string among `texts`, by open addressing: half the time and a third of the memory of
/// std::unordered_map.
class StringIndex {
 public:
  /// Ids whose text is to be found; `texts` must outlive the index.
  StringIndex(const std::vector<std::string>& texts, const std::vector<std::int32_t>& ids);
  /// -1 if absent.
  std::int32_t find(std::string_view text) const;

 private:
  const std::vector<std::string>& texts_;
  std::vector<std::int32_t> slots_;
};

/// Tokens of a model: text by id, ids with holes between them allowed.
class Vocabulary {
 public:
  Vocabulary(std::vector<std::pair<std::string, std::int32_t>> entries);
  /// A JSON object of token: id. Errors: IoError for an id that stands twice or is out of
  /// proportion.
  explicit Vocabulary(const JsonReader& spec);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  std::int32_t find(std::string_view token) const { return index_.find(token); }
  /// "" for an id that no token has.
  const std::vector<std::string>& texts() const { return texts_; }
  const std::vector<std::int32_t>& ids() const { return ids_; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::int32_t> ids_;  // in the order of the file
  StringIndex index_;
};

}  // namespace lowbank::tokenizers
