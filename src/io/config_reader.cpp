#include "io/config_reader.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lowbank {
namespace {

const nlohmann::ordered_json& empty_object() {
  static const nlohmann::ordered_json object = nlohmann::ordered_json::object();
  return object;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::ordered_json& config, std::string source,
                           std::string prefix)
    : config_(config), source_(std::move(source)), prefix_(std::move(prefix)) {
  if (!config_.is_object()) throw ConfigError(source_ + ": wants a JSON object");
}

const nlohmann::ordered_json* ConfigReader::find(const std::string& key) const {
  const auto found = config_.find(key);
  return found == config_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const std::string& key) const { return find(key) != nullptr; }

std::int64_t ConfigReader::integer(const std::string& key, std::int64_t otherwise, std::int64_t min,
                                   std::int64_t max) const {
  const auto* value = find(key);
  if (value == nullptr) return otherwise;
  // Beyond int64 nlohmann would wrap around.
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX);
  const std::int64_t number = fits ? value->get<std::int64_t>() : 0;
  if (!fits || number < min || number > max) {
    refuse(key, fmt::format("a whole number in [{}, {}]", min, max));
  }
  return number;
}

double ConfigReader::positive(const std::string& key, double otherwise) const {
  const auto* value = find(key);
  if (value == nullptr) return otherwise;
  const double number = value->is_number() ? value->get<double>() : 0.0;
  if (!std::isfinite(number) || number <= 0) refuse(key, "a number > 0");
  return number;
}

bool ConfigReader::flag(const std::string& key, bool otherwise) const {
  const auto* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& otherwise) const {
  const auto* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

ConfigReader ConfigReader::group(const std::string& key) const {
  const auto* value = find(key);
  if (value != nullptr && !value->is_object()) refuse(key, "an object");
  return ConfigReader(value == nullptr ? empty_object() : *value, source_, prefix_ + key + ".");
}

void ConfigReader::refuse(const std::string& key, const std::string& supported) const {
  const auto* value = find(key);
  std::string shown = value == nullptr ? "absent" : value->dump(-1, ' ', true);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw ConfigError(
      fmt::format("{}: {}{} is {}; supported: {}", source_, prefix_, key, shown, supported));
}

}  // namespace lowbank
