#pragma once

#include <string>
#include <vector>

#include "report/sections/sections.h"

namespace lowbank::report {

/// One HTML page that needs nothing else: style, figures (SVG) and tables are inline.
std::string html_page(const std::string& title, const std::vector<std::string>& summary,
                      const std::vector<Section>& sections, const std::string& data_folder);

}  // namespace lowbank::report
