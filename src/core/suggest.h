#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lowbank {

/// "; did you mean 'learning_rate'?" for the candidate nearest to `word`. If none is near, the
/// suggestion is the first candidate that contains `word`; if there is none, the text is empty.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace lowbank
