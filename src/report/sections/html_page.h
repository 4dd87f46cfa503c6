#pragma once

#include <string>
#include <vector>

#include "report/sections/sections.h"

namespace lowbank::report {

/// An HTML page that needs no other file: style, figures (SVG) and tables are inline. `data_folder`
/// is the folder of the tables' and figures' files, which the page names.
std::string html_page(const std::string& title, const std::vector<std::string>& summary,
                      const std::vector<Section>& sections, const std::string& data_folder);

}  // namespace lowbank::report
