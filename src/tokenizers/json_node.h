#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lowbank::tokenizers {

/// A value of a JSON file that knows where it stands, for errors that name file and key path.
class JsonNode {
 public:
  JsonNode(const nlohmann::ordered_json& value, const std::string& file, std::string path = "")
      : value_(&value), file_(&file), path_(std::move(path)) {}

  const nlohmann::ordered_json& value() const { return *value_; }
  /// "FILE: KEY PATH".
  std::string where() const { return path_.empty() ? *file_ : *file_ + ": " + path_; }

  /// IoError "FILE: KEY PATH: message".
  [[noreturn]] void fail(const std::string& message) const;

  /// True if the object has `key` with a value other than null.
  bool has(const char* key) const;
  JsonNode at(const char* key) const;
  JsonNode at(std::size_t index) const;
  std::size_t size() const;  // of an array
  void check_object() const;
  void check_array() const;

  /// This value, or the member `key`. Errors: IoError when absent or of another type.
  std::string text() const;
  std::string text(const char* key) const { return at(key).text(); }
  std::string text(const char* key, const std::string& otherwise) const;
  bool flag(const char* key) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t integer() const;  // in [0, 2^31)
  std::int64_t integer(const char* key) const { return at(key).integer(); }
  std::int64_t integer(const char* key, std::int64_t otherwise) const;
  /// A string of exactly one character.
  char32_t character(const char* key) const;

  /// Errors: IoError for a member that is none of `keys`.
  void check_keys(std::initializer_list<std::string_view> keys) const;

 private:
  const nlohmann::ordered_json* value_;
  const std::string* file_;
  std::string path_;
};

}  // namespace lowbank::tokenizers
