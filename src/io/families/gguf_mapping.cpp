#include "io/families/gguf_mapping.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

constexpr std::int64_t kMaxGgufSize = std::int64_t{1} << 31;

}  // namespace

void warn_of_unknown_keys(const GgufFile& file, std::string_view prefix,
                          std::span<const GgufKeyRule> rules) {
  for (const auto& key : file.keys()) {
    if (!key.starts_with(prefix)) continue;
    const auto name = std::string_view(key).substr(prefix.size());
    const bool is_known =
        std::ranges::any_of(rules, [&](const GgufKeyRule& rule) { return rule.name == name; });
    if (is_known) continue;
    warn("{}: key '{}' is not known: if it changes what the model computes, the result is wrong",
         file.path(), key);
  }
}

GgufConfig::GgufConfig(const GgufFile& file)
    : file_(file), architecture_(file.text("general.architecture")) {}

std::int64_t GgufConfig::size(std::string_view name) const {
  const std::int64_t value = file_.integer(key(name));
  if (value < 1 || value > kMaxGgufSize) {
    throw IoError(fmt::format("{}: key '{}' wants a whole number in [1, {}]; it holds {}",
                              file_.path(), key(name), kMaxGgufSize, value));
  }
  return value;
}

std::int64_t GgufConfig::size(std::string_view name, std::int64_t otherwise) const {
  return file_.has(key(name)) ? size(name) : otherwise;
}

double GgufConfig::positive(std::string_view name) const {
  const double number = file_.number(key(name));
  if (!(number > 0)) refuse(key(name), fmt::format("{}", number), "numbers > 0");
  return number;
}

double GgufConfig::positive(std::string_view name, double otherwise) const {
  return file_.has(key(name)) ? positive(name) : otherwise;
}

double GgufConfig::decimal(std::string_view name, double otherwise) const {
  const double number = positive(name, otherwise);
  const auto narrow = static_cast<float>(number);
  if (static_cast<double>(narrow) != number) return number;
  const std::string digits = fmt::format("{}", narrow);
  double shortest = number;
  std::from_chars(digits.data(), digits.data() + digits.size(), shortest);
  return shortest;
}

void GgufConfig::want_number(std::string_view name, double neutral) const {
  const double number = file_.number(key(name), neutral);
  if (number != neutral) refuse(key(name), fmt::format("{}", number), fmt::format("{}", neutral));
}

void GgufConfig::refuse(const std::string& name, const std::string& value,
                        const std::string& supported) const {
  throw ConfigError(
      fmt::format("{}: {} is {}; supported: {}", file_.path(), name, value, supported));
}

const TensorEntry& GgufConfig::tensor(std::string_view name) const {
  const TensorEntry* const entry = file_.find(name);
  if (entry == nullptr) throw IoError(fmt::format("{}: has no tensor '{}'", file_.path(), name));
  return *entry;
}

std::int64_t GgufConfig::vocab_size() const {
  const TensorEntry& entry = tensor("token_embd.weight");
  if (entry.shape.size() != 2) {
    throw IoError(file_.path() + ": tensor 'token_embd.weight' is no matrix");
  }
  return entry.shape[0];
}

void GgufKeyBuilder::add(std::string_view name, GgufMetadata value) {
  keys_.emplace_back(prefix_ + std::string(name), std::move(value));
}

void GgufKeyBuilder::add_size(std::string_view name, std::int64_t size) {
  add(name, static_cast<std::uint32_t>(size));
}

void GgufKeyBuilder::add_number(std::string_view name, double number) {
  add(name, static_cast<float>(number));
}

}  // namespace lowbank
