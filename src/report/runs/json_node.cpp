#include "report/runs/json_node.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "report/page/number_format.h"

namespace lowbank::report {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

JsonNode::JsonNode(const Json& value, std::string where)
    : value_(&value), where_(std::move(where)) {
  if (!value_->is_object()) throw IoError(where_ + ": must be a JSON object");
}

bool JsonNode::has(const std::string& key) const {
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

double JsonNode::number(const std::string& key) const {
  if (!has(key)) return kNotReported;
  return as_number(value_->at(key), key);
}

double JsonNode::required_number(const std::string& key) const {
  const double value = number(key);
  if (!std::isfinite(value)) throw IoError(fmt::format("{}: key '{}' is missing", where_, key));
  return value;
}

std::string JsonNode::text(const std::string& key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!value_->at(key).is_string()) {
    throw IoError(fmt::format("{}: key '{}' must be a string", where_, key));
  }
  return value_->at(key).get<std::string>();
}

std::string JsonNode::required_text(const std::string& key) const {
  const std::string value = text(key);
  if (value.empty()) throw IoError(fmt::format("{}: key '{}' is missing", where_, key));
  return value;
}

bool JsonNode::flag(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!value_->at(key).is_boolean()) {
    throw IoError(fmt::format("{}: key '{}' must be true or false", where_, key));
  }
  return value_->at(key).get<bool>();
}

std::optional<JsonNode> JsonNode::object(const std::string& key) const {
  if (!has(key)) return std::nullopt;
  return JsonNode(value_->at(key), fmt::format("{}: {}", where_, key));
}

std::vector<JsonNode> JsonNode::objects(const std::string& key) const {
  std::vector<JsonNode> out;
  for (const Json& item : array(key)) {
    out.emplace_back(item, fmt::format("{}: {}[{}]", where_, key, out.size()));
  }
  return out;
}

std::vector<double> JsonNode::numbers(const std::string& key) const {
  std::vector<double> out;
  for (const Json& item : array(key)) {
    out.push_back(item.is_null() ? kNotReported : as_number(item, key));
  }
  return out;
}

std::vector<std::pair<std::string, double>> JsonNode::named_numbers(const std::string& key) const {
  std::vector<std::pair<std::string, double>> out;
  if (!has(key)) return out;
  const JsonNode inner(value_->at(key), fmt::format("{}: {}", where_, key));
  for (const auto& [name, item] : inner.value_->items()) out.emplace_back(name, inner.number(name));
  return out;
}

std::vector<std::string> JsonNode::texts(const std::string& key) const {
  std::vector<std::string> out;
  for (const Json& item : array(key)) {
    if (!item.is_string()) {
      throw IoError(fmt::format("{}: key '{}' must hold strings", where_, key));
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

double JsonNode::as_number(const Json& value, const std::string& key) const {
  if (!value.is_number()) {
    throw IoError(fmt::format("{}: key '{}' must hold a number", where_, key));
  }
  return value.get<double>();
}

const Json& JsonNode::array(const std::string& key) const {
  static const Json kNone = Json::array();
  if (!has(key)) return kNone;
  if (!value_->at(key).is_array()) {
    throw IoError(fmt::format("{}: key '{}' must be an array", where_, key));
  }
  return value_->at(key);
}

}  // namespace lowbank::report
