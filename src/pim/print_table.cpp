#include "pim/print_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/log.h"
#include "core/text.h"

namespace lowbank::pim {

void print_table(std::vector<std::vector<std::string>> lines, std::size_t num_names) {
  for (auto& line : lines) {
    for (auto& cell : line) cell = printable(cell);  // before its width is taken
  }
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      text += i < num_names ? fmt::format("{:<{}}  ", line[i], widths[i])
                            : fmt::format("{:>{}}  ", line[i], widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    print_line(text);
  }
}

}  // namespace lowbank::pim
