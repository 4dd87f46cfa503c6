#include "tokenizers/json_node.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {

void JsonNode::fail(const std::string& message) const { throw IoError(where() + ": " + message); }

void JsonNode::check_object() const {
  if (!value_->is_object()) fail(fmt::format("wants an object, got {}", value_->type_name()));
}

void JsonNode::check_array() const {
  if (!value_->is_array()) fail(fmt::format("wants an array, got {}", value_->type_name()));
}

bool JsonNode::has(const char* key) const {
  check_object();
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonNode JsonNode::at(const char* key) const {
  check_object();
  const auto found = value_->find(key);
  if (found == value_->end()) fail(fmt::format("key '{}' is missing", key));
  return {*found, *file_, path_.empty() ? key : path_ + "." + key};
}

JsonNode JsonNode::at(std::size_t index) const {
  check_array();
  if (index >= value_->size()) fail(fmt::format("wants more than {} elements", value_->size()));
  return {(*value_)[index], *file_, fmt::format("{}[{}]", path_, index)};
}

std::size_t JsonNode::size() const {
  check_array();
  return value_->size();
}

std::string JsonNode::text() const {
  if (!value_->is_string()) fail(fmt::format("wants a string, got {}", value_->type_name()));
  return value_->get<std::string>();
}

std::string JsonNode::text(const char* key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

bool JsonNode::flag(const char* key) const {
  const auto node = at(key);
  if (!node.value_->is_boolean()) {
    node.fail(fmt::format("wants a boolean, got {}", node.value_->type_name()));
  }
  return node.value_->get<bool>();
}

bool JsonNode::flag(const char* key, bool otherwise) const {
  return has(key) ? flag(key) : otherwise;
}

std::int64_t JsonNode::integer() const {
  if (!value_->is_number_integer()) {
    fail(fmt::format("wants an integer, got {}", value_->type_name()));
  }
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const bool fits = value_->is_number_unsigned()
                        ? value_->get<std::uint64_t>() < static_cast<std::uint64_t>(kLimit)
                        : value_->get<std::int64_t>() >= 0 && value_->get<std::int64_t>() < kLimit;
  if (!fits) fail(fmt::format("must be in [0, {}), got {}", kLimit, value_->dump()));
  return value_->get<std::int64_t>();
}

std::int64_t JsonNode::integer(const char* key, std::int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}

char32_t JsonNode::character(const char* key) const {
  const auto node = at(key);
  const std::string value = node.text();
  if (count_code_points(value) != 1) node.fail(fmt::format("wants one character, got '{}'", value));
  std::size_t at_start = 0;
  return next_code_point(value, at_start);
}

void JsonNode::check_keys(std::initializer_list<std::string_view> keys) const {
  check_object();
  for (const auto& [key, unused] : value_->items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      fail(fmt::format("key '{}' is not supported; known: {}", key, fmt::join(keys, ", ")));
    }
  }
}

}  // namespace lowbank::tokenizers
