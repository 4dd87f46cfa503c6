#include "config/results/result_field.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

/// Adds one field to an object.
struct FieldWriter {
  Json& object;
  const ResultField& field;

  void operator()(const bool* value) const { object[field.name] = *value; }
  void operator()(const std::optional<bool>* value) const {
    put(value->has_value(), [&] { return Json(**value); });
  }
  void operator()(const Count* value) const {
    put(value->value().has_value(), [&] { return Json(*value->value()); });
  }
  void operator()(const double* value) const {
    put(!std::isnan(*value), [&] { return Json(*value); });
  }
  void operator()(const std::string* value) const {
    if (!value->empty() || !field.is_left_out) object[field.name] = *value;
  }
  void operator()(const std::vector<double>* value) const { object[field.name] = *value; }
  void operator()(const std::vector<std::string>* value) const { object[field.name] = *value; }
  void operator()(const NamedNumbers* numbers) const {
    Json& named = object[field.name] = Json::object();
    for (const auto& [name, value] : *numbers) named[name] = value;
  }
  void operator()(const ResultField::Group& group) const {
    object[field.name] = to_json(group.fields());
  }
  void operator()(const ResultField::List& list) const {
    if (!list.is_present()) return;
    Json& items = object[field.name] = Json::array();
    for (std::size_t i = 0; i < list.size(); ++i) items.push_back(to_json(list.at(i)));
  }

 private:
  template <class Value>
  void put(bool is_reported, Value value) const {
    if (is_reported) {
      object[field.name] = value();
    } else if (!field.is_left_out) {
      object[field.name] = nullptr;
    }
  }
};

// A count may be written as 64.0.
Count read_count(const JsonReader& item) {
  const double number = item.number();
  if (item.value().is_number_integer()) return item.integer();
  if (number != std::trunc(number) || std::abs(number) >= 0x1p63) {
    item.fail(fmt::format("must be a whole number; got {}", number));
  }
  return static_cast<std::int64_t>(number);
}

double number_or_null(const JsonReader& item) {
  return item.value().is_null() ? kNotReported : item.number();
}

/// Sets one field from an object.
struct FieldReader {
  const JsonReader& object;
  const ResultField& field;

  void operator()(bool* value) const { *value = object.flag(field.name, *value); }
  void operator()(std::optional<bool>* value) const {
    if (object.has(field.name)) *value = object.flag(field.name);
  }
  void operator()(Count* value) const {
    take([&](const JsonReader& item) { return *value = read_count(item); });
  }
  void operator()(double* value) const {
    take([&](const JsonReader& item) { return *value = item.number(); });
  }
  void operator()(std::string* value) const {
    *value = field.is_required ? object.nonempty_text(field.name) : object.text(field.name, *value);
  }
  void operator()(std::vector<double>* value) const {
    value->clear();
    for (const JsonReader& item : object.items(field.name)) value->push_back(number_or_null(item));
  }
  void operator()(std::vector<std::string>* value) const {
    value->clear();
    for (const JsonReader& item : object.items(field.name)) value->push_back(item.text());
  }
  void operator()(NamedNumbers* numbers) const {
    numbers->clear();
    for (const auto& [name, item] : object.group(field.name).members()) {
      numbers->emplace_back(name, number_or_null(item));
    }
  }
  void operator()(const ResultField::Group& group) const {
    if (const auto item = object.find(field.name)) read_fields(*item, group.fields());
  }
  void operator()(const ResultField::List& list) const {
    if (!object.has(field.name)) return;
    list.clear();
    for (const JsonReader& item : object.items(field.name)) read_fields(item, list.add());
  }

 private:
  template <class Read>
  void take(Read read) const {
    if (!field.is_required && !object.has(field.name)) return;
    const JsonReader item = object.at(field.name);
    const double number = read(item);
    if (field.is_positive && !(number > 0)) item.fail("must be > 0");
  }
};

}  // namespace

std::vector<std::string> field_keys(const ResultFields& fields) {
  std::vector<std::string> keys;
  for (const ResultField& field : fields) keys.push_back(field.name);
  return keys;
}

Json to_json(const ResultFields& fields) {
  Json object = Json::object();
  for (const ResultField& field : fields) std::visit(FieldWriter{object, field}, field.target);
  return object;
}

void read_fields(const JsonReader& object, const ResultFields& fields) {
  for (const ResultField& field : fields) std::visit(FieldReader{object, field}, field.target);
}

}  // namespace lowbank
