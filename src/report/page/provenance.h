#pragma once

#include <string>
#include <vector>

namespace lowbank::report {

/// Where a number comes from: every table row and every point of a figure carries one.
struct Provenance {
  enum class Kind { kMeasured, kModelled };
  Kind kind = Kind::kMeasured;
  std::string device = {};  ///< measured: processor or GPU
  std::string date = {};    ///< measured: "2026-01-31"
  std::string mode = {};    ///< modelled: rules of the estimator
  std::string source = {};  ///< modelled: where its constants come from

  std::string name() const { return kind == Kind::kMeasured ? "measured" : "modelled"; }
  /// "Xeon, 2026-01-31" or "physical mode; constants: ...".
  std::string detail() const;
  /// "measured (Xeon, 2026-01-31)".
  std::string text() const;
  bool operator==(const Provenance&) const = default;
};

/// One text for several sources, "modelled (physical mode; constants: a.json, b.json)" or
/// "measured (Xeon, 2026-01-31 to 2026-02-01)"; "" when they differ in more than that.
std::string common_provenance(const std::vector<Provenance>& sources);

/// common_provenance if there is one, else the texts of all sources.
std::string joined_provenance(const std::vector<Provenance>& sources);

}  // namespace lowbank::report
