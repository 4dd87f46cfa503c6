#include "core/json_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/suggest.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxShownBytes = 60;
constexpr std::size_t kMaxShownKeys = 16;

// Stops soon after kMaxShownBytes: a corrupt file may hold a list of millions where a number
// belongs.
void append_shown(const Json& value, std::string& out) {
  const auto dump = [](const Json& part) {
    return part.dump(-1, ' ', true, Json::error_handler_t::replace);
  };
  if (value.is_string()) {
    out += dump(value.get_ref<const std::string&>().substr(0, kMaxShownBytes));
  } else if (value.is_array() || value.is_object()) {
    out += value.is_array() ? '[' : '{';
    bool is_first = true;
    for (const auto& [key, part] : value.items()) {
      if (out.size() > kMaxShownBytes) return;
      if (!is_first) out += ',';
      is_first = false;
      if (value.is_object()) out += dump(key.substr(0, kMaxShownBytes)) + ":";
      append_shown(part, out);
    }
    out += value.is_array() ? ']' : '}';
  } else {
    out += dump(value);
  }
}

std::string shown(const Json& value) {
  std::string text;
  append_shown(value, text);
  if (text.size() > kMaxShownBytes) text = text.substr(0, kMaxShownBytes - 3) + "...";
  return text;
}

}  // namespace

struct JsonReader::Document {
  std::string source;
  JsonRules rules;
  Json kept;  // null unless the reader was given the value itself
};

JsonReader::JsonReader(const Json& value, std::string source, JsonRules rules, std::string path)
    : document_(std::make_shared<const Document>(Document{std::move(source), rules, nullptr})),
      value_(&value),
      path_(std::move(path)) {}

JsonReader::JsonReader(Json&& value, std::string source, JsonRules rules, std::string path)
    : document_(
          std::make_shared<const Document>(Document{std::move(source), rules, std::move(value)})),
      value_(&document_->kept),
      path_(std::move(path)) {}

JsonReader::JsonReader(std::shared_ptr<const Document> document, const Json& value,
                       std::string path, bool is_named)
    : document_(std::move(document)), value_(&value), path_(std::move(path)), is_named_(is_named) {}

std::string JsonReader::path_to(std::string_view key) const {
  if (key.empty() || path_.empty()) return path_ + std::string(key);
  return fmt::format("{}{}{}", path_, is_named_ ? ": " : ".", key);
}

std::string JsonReader::where() const { return where({}); }

std::string JsonReader::where(std::string_view key) const {
  const std::string path = path_to(key);
  return path.empty() ? document_->source : document_->source + ": " + path;
}

JsonReader JsonReader::named(std::string_view name) const {
  return {document_, *value_, fmt::format("{} '{}'", path_, name), true};
}

void JsonReader::fail_at(std::string_view key, const std::string& message) const {
  const std::string line = where(key) + ": " + message;
  if (document_->rules.blame == JsonRules::Blame::kUser) throw ConfigError(line);
  throw IoError(line);
}

void JsonReader::reject_at(std::string_view key, const std::string& message) const {
  const std::string line = where(key) + ": " + message;
  if (document_->rules.blame == JsonRules::Blame::kFile) throw IoError(line);
  throw ConfigError(line);
}

void JsonReader::fail(const std::string& message) const { fail_at({}, message); }
void JsonReader::reject(const std::string& message) const { reject_at({}, message); }

void JsonReader::refuse(std::string_view key, const std::string& supported) const {
  const Json* const value = member(key);
  const std::string line = fmt::format("{} is {}; supported: {}", where(key),
                                       value == nullptr ? "absent" : shown(*value), supported);
  if (document_->rules.blame == JsonRules::Blame::kFile) throw IoError(line);
  throw ConfigError(line);
}

void JsonReader::wants(const Asked& asked, const std::string& what) const {
  fail_at(asked.key, fmt::format("must be {}; got {}", what, shown(asked.value)));
}

bool JsonReader::is_text() const { return value_->is_string(); }
bool JsonReader::is_object() const { return value_->is_object(); }
bool JsonReader::is_list() const { return value_->is_array(); }

void JsonReader::check_object() const {
  if (!value_->is_object()) wants({*value_, {}}, "a JSON object");
}

const Json* JsonReader::member(std::string_view key) const {
  check_object();
  const auto found = value_->find(key);
  if (found == value_->end()) return nullptr;
  return found->is_null() && document_->rules.null_is_absent ? nullptr : &*found;
}

JsonReader::Asked JsonReader::require(std::string_view key) const {
  const Json* const value = member(key);
  if (value == nullptr) fail(fmt::format("key '{}' is missing", key));
  return {*value, key};
}

bool JsonReader::has(std::string_view key) const { return member(key) != nullptr; }

JsonReader JsonReader::at(std::string_view key) const {
  return {document_, require(key).value, path_to(key), false};
}

std::optional<JsonReader> JsonReader::find(std::string_view key) const {
  const Json* const value = member(key);
  if (value == nullptr) return std::nullopt;
  return JsonReader(document_, *value, path_to(key), false);
}

JsonReader JsonReader::group(std::string_view key) const {
  static const Json kEmpty = Json::object();
  const Json* const value = member(key);
  if (value != nullptr && !value->is_object()) wants({*value, key}, "a JSON object");
  return {document_, value == nullptr ? kEmpty : *value, path_to(key), false};
}

std::vector<JsonReader> JsonReader::items(std::string_view key) const {
  const auto list = find(key);
  return list ? list->items() : std::vector<JsonReader>();
}

std::vector<std::pair<std::string, JsonReader>> JsonReader::members() const {
  check_object();
  std::vector<std::pair<std::string, JsonReader>> out;
  out.reserve(value_->size());
  for (const auto& [key, value] : value_->items()) {
    out.emplace_back(key, JsonReader(document_, value, path_to(key), false));
  }
  return out;
}

void JsonReader::check_keys(std::span<const std::string> known) const {
  check_object();
  for (const auto& [key, unused] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string hint = did_you_mean(key, known);
    if (hint.empty() && known.size() <= kMaxShownKeys) {
      hint = fmt::format("; known: {}", fmt::join(known, ", "));
    }
    reject(fmt::format("unknown key '{}'{}", key, hint));
  }
}

void JsonReader::check_keys(std::initializer_list<std::string> known) const {
  check_keys(std::span(known.begin(), known.size()));
}

std::size_t JsonReader::size() const {
  if (!value_->is_array()) wants({*value_, {}}, "a list");
  return value_->size();
}

JsonReader JsonReader::at(std::size_t index) const {
  if (index >= size()) fail(fmt::format("must have more than {} elements", size()));
  return {document_, (*value_)[index], fmt::format("{}[{}]", path_, index), false};
}

std::vector<JsonReader> JsonReader::items() const {
  std::vector<JsonReader> out;
  out.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) out.push_back(at(i));
  return out;
}

std::string JsonReader::text_of(const Asked& asked) const {
  if (!asked.value.is_string()) wants(asked, "a string");
  return asked.value.get<std::string>();
}

std::string JsonReader::text() const { return text_of({*value_, {}}); }

std::string JsonReader::text(std::string_view key) const { return text_of(require(key)); }

std::string JsonReader::text(std::string_view key, const std::string& otherwise) const {
  const Json* const value = member(key);
  return value == nullptr ? otherwise : text_of({*value, key});
}

std::string JsonReader::nonempty_text(std::string_view key) const {
  std::string value = text(key);
  if (value.empty()) fail_at(key, "must be a string that is not empty");
  return value;
}

std::size_t JsonReader::choice(std::string_view key, std::span<const std::string> names) const {
  const std::string value = text(key);
  const auto found = std::find(names.begin(), names.end(), value);
  if (found == names.end()) {
    reject_at(key, fmt::format("must be one of {}; got '{}'{}", fmt::join(names, ", "), value,
                               did_you_mean(value, names)));
  }
  return static_cast<std::size_t>(found - names.begin());
}

bool JsonReader::flag_of(const Asked& asked) const {
  if (!asked.value.is_boolean()) wants(asked, "true or false");
  return asked.value.get<bool>();
}

bool JsonReader::flag() const { return flag_of({*value_, {}}); }

bool JsonReader::flag(std::string_view key) const { return flag_of(require(key)); }

bool JsonReader::flag(std::string_view key, bool otherwise) const {
  const Json* const value = member(key);
  return value == nullptr ? otherwise : flag_of({*value, key});
}

std::int64_t JsonReader::integer_of(const Asked& asked, std::int64_t min, std::int64_t max) const {
  using Limits = std::numeric_limits<std::int64_t>;
  const auto allowed = [&] {
    if (min == Limits::min() && max == Limits::max()) return std::string("a whole number");
    if (max == Limits::max()) return fmt::format("a whole number >= {}", min);
    return fmt::format("a whole number in [{}, {}]", min, max);
  };
  if (!asked.value.is_number_integer()) wants(asked, allowed());
  // Beyond int64 nlohmann would wrap around.
  const bool is_huge = asked.value.is_number_unsigned() &&
                       asked.value.get<std::uint64_t>() > static_cast<std::uint64_t>(Limits::max());
  const std::int64_t number = is_huge ? 0 : asked.value.get<std::int64_t>();
  if (is_huge || number < min || number > max) {
    reject_at(asked.key, fmt::format("must be {}; got {}", allowed(), shown(asked.value)));
  }
  return number;
}

std::int64_t JsonReader::integer(std::int64_t min, std::int64_t max) const {
  return integer_of({*value_, {}}, min, max);
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  return integer_of(require(key), min, max);
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t otherwise, std::int64_t min,
                                 std::int64_t max) const {
  const Json* const value = member(key);
  return value == nullptr ? otherwise : integer_of({*value, key}, min, max);
}

double JsonReader::number_of(const Asked& asked, double min, double max) const {
  using Limits = std::numeric_limits<double>;
  const auto allowed = [&] {
    if (min == Limits::lowest() && max == Limits::max()) return std::string("a number");
    return fmt::format("a number in [{}, {}]", min, max);
  };
  if (!asked.value.is_number()) wants(asked, allowed());
  const double number = asked.value.get<double>();
  if (!(number >= min && number <= max)) {  // also refuses what is not a number
    reject_at(asked.key, fmt::format("must be {}; got {}", allowed(), shown(asked.value)));
  }
  return number;
}

double JsonReader::number(double min, double max) const {
  return number_of({*value_, {}}, min, max);
}

double JsonReader::number(std::string_view key) const {
  return number(key, std::numeric_limits<double>::lowest(), std::numeric_limits<double>::max());
}

double JsonReader::number(std::string_view key, double min, double max) const {
  return number_of(require(key), min, max);
}

double JsonReader::number(std::string_view key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}

double JsonReader::positive(std::string_view key, double otherwise) const {
  const Json* const value = member(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number()) wants({*value, key}, "a number > 0");
  const double number = value->get<double>();
  if (!std::isfinite(number) || number <= 0) {
    reject_at(key, "must be a number > 0; got " + shown(*value));
  }
  return number;
}

}  // namespace lowbank
