#include "core/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/log.h"
#include "core/text.h"

namespace lowbank {
namespace {

bool g_bar_on_line = false;

std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

void adopt_progress_line() { g_bar_on_line = isatty(STDERR_FILENO) != 0; }

void clear_progress_line() {
  if (!g_bar_on_line) return;
  std::fputs("\r\033[K", stderr);
  g_bar_on_line = false;
}

ProgressBar::ProgressBar(std::string label, std::int64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      visible_(!log_options().quiet && isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  if (visible_) {
    clear_progress_line();
    std::fflush(stderr);
  }
}

void ProgressBar::update(std::int64_t done, std::string_view detail) {
  if (first_done_ < 0) first_done_ = std::max<std::int64_t>(0, done - 1);
  if (!visible_) return;
  const auto now = std::chrono::steady_clock::now();
  if (done < total_ && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  const double elapsed_s = std::chrono::duration<double>(now - start_).count();
  const double frac =
      total_ > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0)
                 : 1.0;
  const std::int64_t here = done - first_done_;
  const double left_s =
      here > 0 ? elapsed_s / static_cast<double>(here) * static_cast<double>(total_ - done) : 0.0;
  constexpr std::size_t kBarCells = 24;
  const auto filled = static_cast<std::size_t>(frac * kBarCells);
  std::string line = fmt::format("{}{} [{}{}] {}/{} {}, {} left", log_options().stage_label, label_,
                                 std::string(filled, '#'), std::string(kBarCells - filled, '.'),
                                 done, total_, unit_, format_duration(left_s));
  if (!detail.empty()) line += fmt::format(", {}", detail);
  line = truncate_code_points(printable(line), static_cast<std::int64_t>(terminal_width()) - 1);
  std::fputs(("\r\033[K" + line).c_str(), stderr);
  std::fflush(stderr);
  g_bar_on_line = true;
}

std::string format_duration(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const std::int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace lowbank
