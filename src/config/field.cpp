#include "config/field.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/resources.h"
#include "core/suggest.h"
#include "core/text.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void reject(const std::string& where, const Field& field, const std::string& got) {
  std::string wanted = std::visit(
      [](auto* target) -> std::string {
        using T = std::remove_cvref_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_same_v<T, std::int64_t>) return "a whole number";
        if constexpr (std::is_same_v<T, double>) return "a number";
        if constexpr (std::is_same_v<T, std::string>) return "a string";
        if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
        return "a list of strings";
      },
      field.target);
  if (const auto range = field.range_text(); !range.empty()) wanted += ", " + range;
  throw ConfigError(fmt::format("{}: wants {}; got {}", where, wanted, got));
}

void check_number(const std::string& where, const Field& field, double value) {
  const bool low = field.min_is_open ? value <= field.min : value < field.min;
  const bool high = field.max_is_open ? value >= field.max : value > field.max;
  if (!std::isfinite(value) || low || high) reject(where, field, fmt::format("{}", value));
}

void check_choice(const std::string& where, const Field& field, const std::string& value) {
  if (field.choices.empty()) return;
  for (const auto& choice : field.choices) {
    if (choice == value) return;
  }
  throw ConfigError(fmt::format("{}: '{}' is not {}{}", where, value, field.range_text(),
                                did_you_mean(value, field.choices)));
}

// The one place that writes values. The const_cast is safe: the fields come from a Settings& that
// is not const, and neither are the values to which its fields point.
template <class T>
void store(const T* target, T value) {
  *const_cast<T*>(target) = std::move(value);
}

void assign(const std::string& where, const Field& field, const Json& value) {
  std::visit(
      [&](auto* target) {
        using T = std::remove_cvref_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (!value.is_boolean()) reject(where, field, value.dump());
          store(target, value.get<bool>());
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          if (!value.is_number_integer()) reject(where, field, value.dump());
          if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) {
            reject(where, field, value.dump());
          }
          check_number(where, field, static_cast<double>(value.get<std::int64_t>()));
          store(target, value.get<std::int64_t>());
        } else if constexpr (std::is_same_v<T, double>) {
          if (!value.is_number()) reject(where, field, value.dump());
          check_number(where, field, value.get<double>());
          store(target, value.get<double>());
        } else if constexpr (std::is_same_v<T, std::string>) {
          if (!value.is_string()) reject(where, field, value.dump());
          check_choice(where, field, value.get<std::string>());
          store(target, value.get<std::string>());
        } else {
          T list;
          const bool is_list_of_paths = field.path != Field::Path::kNone || field.is_preset;
          Json items = value.is_array() ? value : Json::array({value});
          if (is_list_of_paths && value == "") items.clear();
          for (const auto& item : items) {
            if constexpr (std::is_same_v<T, std::vector<double>>) {
              if (!item.is_number()) reject(where, field, item.dump());
              check_number(where, field, item.get<double>());
              list.push_back(item.get<double>());
            } else {
              if (!item.is_string()) reject(where, field, item.dump());
              check_choice(where, field, item.get<std::string>());
              list.push_back(item.get<std::string>());
              if (is_list_of_paths && list.back().empty()) {
                throw ConfigError(fmt::format(
                    "{}: wants paths or names; entry {} of the list is empty", where, list.size()));
              }
            }
          }
          store(target, std::move(list));
        }
      },
      field.target);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const auto end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

Json parse_number(const std::string& where, const Field& field, const std::string& text) {
  const char* const end = text.data() + text.size();
  std::int64_t whole = 0;
  if (auto r = std::from_chars(text.data(), end, whole); r.ec == std::errc() && r.ptr == end) {
    return whole;
  }
  double real = 0;
  if (auto r = std::from_chars(text.data(), end, real); r.ec == std::errc() && r.ptr == end) {
    return real;
  }
  reject(where, field, "'" + text + "'");
}

// Turns text from the command line into the JSON value that its field expects.
Json text_to_json(const std::string& where, const Field& field, const std::string& text) {
  return std::visit(
      [&](auto* target) -> Json {
        using T = std::remove_cvref_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (text == "true" || text == "1") return true;
          if (text == "false" || text == "0") return false;
          reject(where, field, "'" + text + "'");
        } else if constexpr (std::is_same_v<T, std::int64_t> || std::is_same_v<T, double>) {
          return parse_number(where, field, text);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return text;
        } else {
          // A JSON list keeps commas inside its strings; a regular expression such as [qk]_proj
          // is no JSON.
          if (text.starts_with('[') && Json::accept(text)) return Json::parse(text);
          Json list = Json::array();
          if (text.empty()) return list;
          for (const auto& part : split(text, ',')) {
            if constexpr (std::is_same_v<T, std::vector<double>>) {
              list.push_back(parse_number(where, field, part));
            } else {
              list.push_back(part);
            }
          }
          return list;
        }
      },
      field.target);
}

void apply_group(const Fields& fields, const Json& object, const std::string& source,
                 const std::string& prefix, const std::string& recipe_folder, bool from_file) {
  if (!object.is_object()) {
    throw ConfigError(fmt::format("{}: {} wants an object; got {}", source,
                                  prefix.empty() ? "the recipe" : prefix, object.dump()));
  }
  for (const auto& [key, value] : object.items()) {
    if (from_file && (key == "source" || key == "about")) continue;
    const std::string full = prefix.empty() ? key : prefix + "." + key;
    const Field* const field = find_field(fields, key);
    if (field == nullptr) {
      std::vector<std::string> known;
      for (const auto& f : fields) known.push_back(f.name);
      throw ConfigError(
          fmt::format("{}: unknown key '{}'{}", source, full, did_you_mean(key, known)));
    }
    if (!field->is_group()) {
      assign(source + ": " + full, *field, value);
    } else if (value.is_string()) {
      const auto path = find_input(value.get<std::string>(), recipe_folder);
      apply_group(field->children, read_json(path, /*allow_comments=*/true), path, "", "", true);
    } else {
      apply_group(field->children, value, source, full, recipe_folder, false);
    }
  }
}

using PathOf = std::function<std::string(const std::string& key, const std::string& path)>;

void replace_group_inputs(const Fields& fields, const std::string& prefix, const PathOf& path_of) {
  for (const auto& field : fields) {
    const std::string key = prefix + field.name;
    if (field.is_group()) {
      replace_group_inputs(field.children, key + ".", path_of);
    } else if (field.path == Field::Path::kInput || field.is_preset) {
      // A preset without .json is the name of one that ships with Lowbank.
      const auto is_path = [&](const std::string& text) {
        return !text.empty() && (!field.is_preset || text.ends_with(".json"));
      };
      if (const auto* const one = std::get_if<const std::string*>(&field.target)) {
        if (is_path(**one)) store(*one, path_of(key, **one));
      } else if (const auto* const many =
                     std::get_if<const std::vector<std::string>*>(&field.target)) {
        std::vector<std::string> paths = **many;
        for (auto& path : paths) {
          if (is_path(path)) path = path_of(key, path);
        }
        store(*many, std::move(paths));
      }
    }
  }
}

}  // namespace

std::string Field::range_text() const {
  if (!choices.empty()) return fmt::format("one of {}", fmt::join(choices, ", "));
  const bool has_min = std::isfinite(min);
  const bool has_max = std::isfinite(max);
  std::string text;
  if (has_min && has_max) {
    text = fmt::format("in {}{}, {}{}", min_is_open ? '(' : '[', min, max, max_is_open ? ')' : ']');
  } else if (has_min) {
    text = fmt::format("{} {}", min_is_open ? ">" : ">=", min);
  } else if (has_max) {
    text = fmt::format("{} {}", max_is_open ? "<" : "<=", max);
  }
  if (!unit_name.empty()) text += (text.empty() ? "" : " ") + unit_name;
  return text;
}

void apply_json(Settings& settings, const Json& object, const std::string& source,
                const std::string& recipe_folder) {
  apply_group(settings.fields(), object, source, "", recipe_folder, false);
}

const Field* find_field(const Fields& fields, const std::string& key) {
  const auto dot = key.find('.');
  const auto head = key.substr(0, dot);
  for (const auto& field : fields) {
    if (field.name != head) continue;
    if (dot == std::string::npos) return &field;
    return field.is_group() ? find_field(field.children, key.substr(dot + 1)) : nullptr;
  }
  return nullptr;
}

std::vector<std::string> field_keys(const Fields& fields) {
  std::vector<std::string> keys;
  for (const auto& field : fields) {
    if (!field.is_group()) keys.push_back(field.name);
    for (const auto& child : field_keys(field.children)) keys.push_back(field.name + "." + child);
  }
  return keys;
}

void apply_text(Settings& settings, const std::string& key, const std::string& text) {
  const Fields fields = settings.fields();
  // resolved.json, a JSON file, could not hold it.
  if (find_invalid_utf8(text) != std::string::npos) throw ConfigError(key + ": is not UTF-8");
  const Field* const field = find_field(fields, key);
  if (field == nullptr) {
    throw ConfigError(
        fmt::format("unknown key '{}'{}", key, did_you_mean(key, field_keys(fields))));
  }
  if (field->is_group()) {
    const std::string path = find_input(text);
    apply_group(field->children, read_json(path, /*allow_comments=*/true), path, "", "", true);
  } else {
    assign(key, *field, text_to_json(key, *field, text));
  }
}

void replace_inputs(
    Settings& settings,
    const std::function<std::string(const std::string& key, const std::string& path)>& path_of) {
  replace_group_inputs(settings.fields(), "", path_of);
}

Json to_json(const Fields& fields) {
  Json out = Json::object();
  for (const auto& field : fields) {
    if (field.is_group()) {
      out[field.name] = to_json(field.children);
    } else {
      std::visit([&](auto* target) { out[field.name] = *target; }, field.target);
    }
  }
  return out;
}

void check_required(const Fields& fields) {
  for (const auto& field : fields) {
    if (!field.is_required) continue;
    const bool empty = std::visit(
        [](auto* target) {
          if constexpr (requires { target->empty(); }) return target->empty();
          return false;
        },
        field.target);
    if (empty) throw ConfigError(fmt::format("{} is missing: {}", field.name, field.help));
  }
}

}  // namespace lowbank
