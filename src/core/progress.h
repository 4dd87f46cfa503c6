#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace lowbank {

/// One line on standard error that is redrawn as the work goes on. The bar draws nothing if
/// standard error is not a terminal or --quiet was given. Only one bar may exist at a time.
class ProgressBar {
 public:
  /// `unit` is what `total` counts: "step", "chunk", "linear".
  ProgressBar(std::string label, std::int64_t total, std::string unit);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Redraws at most ten times a second, with `detail` at the end of the line ("loss 2.31").
  void update(std::int64_t done, std::string_view detail = {});

 private:
  std::string label_;
  std::string unit_;
  std::int64_t total_;
  std::int64_t first_done_ = -1;  // `done` at the first update: a resumed run does not start at 0
  bool visible_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_{};
};

/// Takes over the line that `lowbank run` left on the terminal for this process's bar.
void adopt_progress_line();

/// Erases the bar from the current line, so that other output can be written there.
void clear_progress_line();

/// "1.2 s", "3 min 04 s", "2 h 05 min".
std::string format_duration(double seconds);

}  // namespace lowbank
