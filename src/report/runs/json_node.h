#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lowbank::report {

/// A JSON object of a file, with the path that errors name. The JSON must outlive it.
/// Errors: IoError for keys that are not as asked for.
class JsonNode {
 public:
  /// Errors: IoError unless `value` is an object.
  JsonNode(const nlohmann::ordered_json& value, std::string where);

  bool has(const std::string& key) const;
  /// kNotReported where the key is missing or null.
  double number(const std::string& key) const;
  double required_number(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback = "") const;
  std::string required_text(const std::string& key) const;
  bool flag(const std::string& key, bool fallback) const;
  /// Nothing where the key is missing.
  std::optional<JsonNode> object(const std::string& key) const;
  /// Empty where the key is missing.
  std::vector<JsonNode> objects(const std::string& key) const;
  /// Likewise; kNotReported for null.
  std::vector<double> numbers(const std::string& key) const;
  std::vector<std::pair<std::string, double>> named_numbers(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  const std::string& where() const { return where_; }

 private:
  double as_number(const nlohmann::ordered_json& value, const std::string& key) const;
  const nlohmann::ordered_json& array(const std::string& key) const;

  const nlohmann::ordered_json* value_;
  std::string where_;
};

}  // namespace lowbank::report
