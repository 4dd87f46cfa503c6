#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lowbank {

/// "; did you mean 'learning_rate'?" for the candidate nearest to `word`; where none is near, for
/// the first that has `word` in it; else "".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace lowbank
