#include "io/families/gguf_mapping.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "io/gguf.h"

namespace lowbank {
namespace {

constexpr std::int64_t kMaxGgufSize = std::int64_t{1} << 31;

}  // namespace

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
