#include "config/parts/table_config.h"

#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace lowbank {

Fields TableConfig::fields() const {
  return {Field("sentence", &sentence, "column of the sentence"),
          Field("second_sentence", &second_sentence,
                "column of the second sentence of a pair; empty: single sentences"),
          Field("label", &label, "column of the class or the number"),
          Field("classes", &classes,
                "what the label column may say, class 0 first; empty: numbers (regression)")};
}

void TableConfig::validate() const {
  for (const auto& [key, column] : {std::pair("sentence", &sentence), {"label", &label}}) {
    if (column->empty()) {
      throw ConfigError(fmt::format("table.{}: must name a column; it is empty", key));
    }
  }
  if (classes.size() == 1) {
    throw ConfigError(fmt::format(
        "table.classes: must be two or more, or none for numbers; got '{}' alone", classes[0]));
  }
  if (const std::set<std::string> once(classes.begin(), classes.end());
      once.size() != classes.size()) {
    throw ConfigError(
        fmt::format("table.classes: lists a class twice: {}", fmt::join(classes, ", ")));
  }
}

}  // namespace lowbank
