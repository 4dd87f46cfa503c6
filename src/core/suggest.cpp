#include "core/suggest.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace lowbank {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

constexpr std::size_t kFewestLetters = 3;  // fewer do not tell which name was meant

// Ignores the case of letters.
bool contains(std::string_view name, std::string_view part) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  const auto found = std::search(name.begin(), name.end(), part.begin(), part.end(),
                                 [&](char a, char b) { return lower(a) == lower(b); });
  return found != name.end();
}

}  // namespace

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  // A short word is near everything: at least one letter must be right.
  std::size_t best_distance = std::min(std::max<std::size_t>(2, word.size() / 3) + 1,
                                       std::max<std::size_t>(word.size(), 1));
  for (const auto& candidate : candidates) {
    const auto distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  if (best == nullptr && word.size() >= kFewestLetters) {
    const auto whole = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const auto& name) { return contains(name, word); });
    if (whole != candidates.end()) best = &*whole;
  }
  return best == nullptr ? "" : "; did you mean '" + *best + "'?";
}

}  // namespace lowbank
