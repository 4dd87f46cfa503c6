#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace lowbank {

/// The enumerator for a word of a recipe. A stage calls this where it hands its settings to a
/// library. The field's one_of() has checked the word before.
/// Errors: std::logic_error for a word that is not among `words`.
template <class Enum>
Enum choose(std::string_view word, std::initializer_list<std::pair<std::string_view, Enum>> words) {
  for (const auto& [known, value] : words) {
    if (known == word) return value;
  }
  throw std::logic_error("no enumerator for '" + std::string(word) + "'");
}

}  // namespace lowbank
