#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <nlohmann/json_fwd.hpp>

namespace lowbank {

/// Reads the keys of a config.json (or of an object inside it); null counts as absent, as in
/// transformers.
///
/// Errors: every method throws ConfigError naming the file, the key, the value and what is allowed.
class ConfigReader {
 public:
  /// `config` must outlive the reader; `prefix` stands before its keys in errors
  /// ("rope_scaling.").
  ConfigReader(const nlohmann::ordered_json& config, std::string source, std::string prefix = {});

  bool has(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t min,
                       std::int64_t max) const;
  /// A finite number > 0.
  double positive(const std::string& key, double otherwise) const;
  bool flag(const std::string& key, bool otherwise) const;
  std::string text(const std::string& key, const std::string& otherwise) const;
  /// The object under `key`, empty if absent.
  ConfigReader group(const std::string& key) const;

  [[noreturn]] void refuse(const std::string& key, const std::string& supported) const;

 private:
  const nlohmann::ordered_json* find(const std::string& key) const;

  const nlohmann::ordered_json& config_;
  std::string source_;
  std::string prefix_;
};

}  // namespace lowbank
