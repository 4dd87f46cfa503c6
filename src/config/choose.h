#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace lowbank {

/// The enumerator that a recipe's word stands for. A stage calls it where it hands its settings to
/// a library; that the word is one of them was checked by the field's one_of().
template <class Enum>
Enum choose(std::string_view word, std::initializer_list<std::pair<std::string_view, Enum>> words) {
  for (const auto& [known, value] : words) {
    if (known == word) return value;
  }
  throw std::logic_error("no enumerator for '" + std::string(word) + "'");
}

}  // namespace lowbank
