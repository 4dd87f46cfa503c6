#include "report/page/provenance.h"

#include <algorithm>

#include <fmt/format.h>

namespace lowbank::report {

std::string Provenance::detail() const {
  if (kind == Kind::kMeasured) return fmt::format("{}, {}", device, date);
  return fmt::format("{} mode; constants: {}", mode, source);
}

std::string Provenance::text() const { return fmt::format("{} ({})", name(), detail()); }

std::string common_provenance(const std::vector<Provenance>& sources) {
  if (sources.empty()) return "";
  Provenance all = sources.front();
  std::string first_date = all.date;
  std::string last_date = all.date;
  std::vector<std::string> files;
  for (const Provenance& each : sources) {
    if (each.kind != all.kind || each.mode != all.mode || each.device != all.device) return "";
    first_date = std::min(first_date, each.date);
    last_date = std::max(last_date, each.date);
    if (std::find(files.begin(), files.end(), each.source) == files.end()) {
      files.push_back(each.source);
    }
  }
  all.date = first_date == last_date ? first_date : first_date + " to " + last_date;
  all.source = fmt::format("{}", fmt::join(files, ", "));
  return all.text();
}

std::string joined_provenance(const std::vector<Provenance>& sources) {
  std::string text = common_provenance(sources);
  if (!text.empty()) return text;
  for (const Provenance& each : sources) text += (text.empty() ? "" : "; ") + each.text();
  return text;
}

}  // namespace lowbank::report
