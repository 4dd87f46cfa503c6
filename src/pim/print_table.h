#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lowbank::pim {

/// Prints lines of equal length, the first being the header, in columns: the first `num_names` to
/// the left, figures to the right.
void print_table(std::vector<std::vector<std::string>> lines, std::size_t num_names);

}  // namespace lowbank::pim
