#include "pim/fit_search.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/stats.h"

namespace lowbank::pim {
namespace {

// From x, with edges of `edge`.
Vector descend(const std::function<double(const Vector&)>& f, const Vector& x, double edge,
               int num_steps) {
  using Corner = std::pair<double, Vector>;
  const std::size_t n = x.size();
  std::vector<Corner> corners = {{f(x), x}};
  for (std::size_t i = 0; i < n; ++i) {
    Vector y = x;
    y[i] += edge;
    corners.emplace_back(f(y), y);
  }
  const auto by_value = [](const Corner& a, const Corner& b) { return a.first < b.first; };
  for (int step = 0; step < num_steps; ++step) {
    std::sort(corners.begin(), corners.end(), by_value);
    Corner& worst = corners.back();
    Vector centre(n, 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        centre[j] += corners[i].second[j] / static_cast<double>(n);
      }
    }
    const auto at = [&](double part) {
      Vector y(n);
      for (std::size_t j = 0; j < n; ++j) y[j] = centre[j] + part * (worst.second[j] - centre[j]);
      const double value = f(y);
      return Corner(value, std::move(y));
    };
    const Corner reflected = at(-1);
    if (reflected.first < corners.front().first) {
      const Corner expanded = at(-2);
      worst = expanded.first < reflected.first ? expanded : reflected;
    } else if (reflected.first < corners[n - 1].first) {
      worst = reflected;
    } else if (const Corner contracted = at(0.5); contracted.first < worst.first) {
      worst = contracted;
    } else {
      for (std::size_t i = 1; i <= n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
          corners[i].second[j] = (corners[i].second[j] + corners.front().second[j]) / 2;
        }
        corners[i].first = f(corners[i].second);
      }
    }
  }
  return std::min_element(corners.begin(), corners.end(), by_value)->second;
}

}  // namespace

Vector minimise(const std::function<double(const Vector&)>& f, Vector x) {
  for (const double edge : {0.4, 0.2, 0.1, 0.3, 0.05}) x = descend(f, x, edge, 160);
  return x;
}

GpuTimeError time_error(const Vector& errors) {
  return {.median_frac = upper_quantile(errors, 0.5), .p90_frac = upper_quantile(errors, 0.9)};
}

double four_digits(double value) { return std::stod(fmt::format("{:.4g}", value)); }

}  // namespace lowbank::pim
