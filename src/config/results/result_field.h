#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "config/results/count.h"

namespace lowbank {

class JsonReader;
class ResultField;
using ResultFields = std::vector<ResultField>;

/// A struct that a stage writes into its run folder. Its one list of fields points into the object
/// itself; the stage's writer and the report's reader both walk that list.
template <class T>
concept Result = requires(T& result) {
  { result.fields() } -> std::same_as<ResultFields>;
};

/// Figures whose names only the run knows, in its order.
using NamedNumbers = std::vector<std::pair<std::string, double>>;

/// One key of a result: where its value lives, and what is asked of a file that has it.
///
/// A file may lack a key, unless it is required(): the member then keeps its value. A number that
/// is not reported is written as null, unless it is left_out().
class ResultField {
 public:
  /// A result under a key of its own.
  struct Group {
    std::function<ResultFields()> fields;
  };
  /// A list of results; if it is not present, there is no such key.
  struct List {
    std::function<bool()> is_present;
    std::function<std::size_t()> size;
    std::function<ResultFields(std::size_t)> at;
    std::function<void()> clear;  ///< present from then on
    std::function<ResultFields()> add;
  };
  using Target =
      std::variant<bool*, std::optional<bool>*, Count*, double*, std::string*, std::vector<double>*,
                   std::vector<std::string>*, NamedNumbers*, Group, List>;

  ResultField(std::string key, Target value) : name(std::move(key)), target(std::move(value)) {}
  template <Result T>
  ResultField(std::string key, T* group)
      : ResultField(std::move(key), Group{[group] { return group->fields(); }}) {}
  template <Result T>
  ResultField(std::string key, std::vector<T>* list)
      : ResultField(std::move(key),
                    list_of([] { return true; }, [list]() -> auto& { return *list; })) {}
  template <Result T>
  ResultField(std::string key, std::optional<std::vector<T>>* list)
      : ResultField(std::move(key), list_of([list] { return list->has_value(); },
                                            [list]() -> auto& {
                                              return list->has_value() ? **list : list->emplace();
                                            })) {}

  /// Reading: a file without the key, or with an empty text there, is an error.
  ResultField&& required() && {
    is_required = true;
    return std::move(*this);
  }
  /// Reading: a number that is not above 0 is an error.
  ResultField&& positive() && {
    is_positive = true;
    return std::move(*this);
  }
  /// Writing: a number that is not reported, and an empty text, have no key.
  ResultField&& left_out() && {
    is_left_out = true;
    return std::move(*this);
  }

  std::string name;
  Target target;
  bool is_required = false;
  bool is_positive = false;
  bool is_left_out = false;

 private:
  template <class IsPresent, class Get>
  static List list_of(IsPresent is_present, Get get) {
    return {.is_present = is_present,
            .size = [get] { return get().size(); },
            .at = [get](std::size_t i) { return get()[i].fields(); },
            .clear = [get] { get().clear(); },
            .add = [get] { return get().emplace_back().fields(); }};
  }
};

/// The keys of all fields, without those of results within the result.
std::vector<std::string> field_keys(const ResultFields& fields);

/// The values of all fields, in their order.
nlohmann::ordered_json to_json(const ResultFields& fields);

/// Sets the fields from what a stage wrote; keys that are no field are passed over.
/// Errors: those of the reader, for a required key that is missing and a value of a wrong kind.
void read_fields(const JsonReader& object, const ResultFields& fields);

}  // namespace lowbank
