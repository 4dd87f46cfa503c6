// Time of the selective scan's core for one sequence on one thread, for every instruction set that
// the processor has. usage: selective_scan_core_bench [TOKENS [CHANNELS [STATES [ROUNDS]]]]
#include "kernels/cpu/selective_scan_core.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <limits>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/philox.h"
#include "kernels/cpu/causal_conv_core.h"
#include "kernels/cpu/cpu_isa.h"

namespace {

struct Shape {
  std::int64_t num_tokens = 512;
  std::int64_t num_channels = 1536;
  std::int64_t num_states = 16;
  std::int64_t num_rounds = 20;
};

constexpr std::int64_t kConvWidth = 4;

// An array that starts at a cache line, like a tensor's memory.
class Floats {
 public:
  explicit Floats(std::int64_t size)
      : size_(static_cast<std::size_t>(size)), lines_(size_ / std::size(Line{}.floats) + 1) {}
  float* data() { return lines_.front().floats; }
  const float* data() const { return lines_.front().floats; }
  std::span<float> values() { return {data(), size_}; }
  std::int64_t size() const { return static_cast<std::int64_t>(size_); }

 private:
  struct alignas(64) Line {
    float floats[16];
  };
  std::size_t size_;
  std::vector<Line> lines_;
};

class Buffers {
 public:
  explicit Buffers(const Shape& shape)
      : shape_(shape),
        u_(normals(shape.num_tokens * shape.num_channels)),
        dt_(normals(shape.num_tokens * shape.num_channels)),
        z_(normals(shape.num_tokens * shape.num_channels)),
        b_(normals(shape.num_tokens * shape.num_states)),
        c_(normals(shape.num_tokens * shape.num_states)),
        a_(normals(shape.num_states * shape.num_channels)),
        per_channel_(normals(shape.num_channels)),
        weight_(normals(kConvWidth * shape.num_channels)),
        y_(u_.size()),
        grad_u_(u_.size()),
        grad_dt_(u_.size()),
        grad_z_(u_.size()),
        state_(a_.size()),
        grad_a_(a_.size()),
        chunk_states_(a_.size() * lowbank::num_scan_chunks(shape.num_tokens)),
        grad_b_(b_.size() * num_groups()),
        grad_c_(grad_b_.size()),
        sums_(weight_.size()) {
    for (float& a : a_.values()) a = -0.1f - 8.0f * a * a;
    for (float& dt : dt_.values()) dt -= 4.0f;  // steps around 0.02, as trained models have
  }

  std::int64_t num_groups() const { return lowbank::num_scan_groups(shape_.num_channels); }

  void scan_forward() {
    std::ranges::fill(state_.values(), 0.0f);
    const lowbank::ScanForward<float> scan = {.in = scan_operands(),
                                              .y = rows(y_),
                                              .state_ND = state_.data(),
                                              .chunk_states_CND = chunk_states_.data()};
    for (std::int64_t g = 0; g < num_groups(); ++g) selective_scan_forward(scan, g);
  }

  void scan_backward() {
    std::ranges::fill(state_.values(), 0.0f);
    const lowbank::ScanBackward<float> scan = {.in = scan_operands(),
                                               .chunk_states_CND = chunk_states_.data(),
                                               .grad_y = {u_.data(), shape_.num_channels},
                                               .grad_u = rows(grad_u_),
                                               .grad_dt = rows(grad_dt_),
                                               .grad_z = rows(grad_z_),
                                               .grad_b_GTN = grad_b_.data(),
                                               .grad_c_GTN = grad_c_.data(),
                                               .grad_a_ND = grad_a_.data(),
                                               .grad_skip_D = sums_.data(),
                                               .grad_dt_bias_D = sums_.data(),
                                               .grad_state_ND = state_.data()};
    for (std::int64_t g = 0; g < num_groups(); ++g) selective_scan_backward(scan, g);
  }

  void conv_forward() {
    const lowbank::ConvForward<float> conv = {.in = conv_operands(), .y = rows(y_)};
    for (std::int64_t g = 0; g < num_groups(); ++g) causal_conv_forward(conv, g);
  }

  void conv_backward() {
    const lowbank::ConvBackward<float> conv = {.in = conv_operands(),
                                               .grad_y = {z_.data(), shape_.num_channels},
                                               .grad_x = rows(grad_u_),
                                               .grad_before = rows(grad_z_),
                                               .grad_weight_WD = sums_.data(),
                                               .grad_bias_D = grad_dt_.data()};
    for (std::int64_t g = 0; g < num_groups(); ++g) causal_conv_backward(conv, g);
  }

 private:
  static Floats normals(std::int64_t count) {
    static std::uint64_t stream = 0;
    Floats out(count);
    lowbank::fill_normal(out.values(), lowbank::RandomKey(1).derive(++stream));
    return out;
  }
  lowbank::TokenRows<float> rows(Floats& of) const { return {of.data(), shape_.num_channels}; }
  lowbank::ScanOperands<float> scan_operands() const {
    return {.num_tokens = shape_.num_tokens,
            .num_channels = shape_.num_channels,
            .num_states = shape_.num_states,
            .u = {u_.data(), shape_.num_channels},
            .dt = {dt_.data(), shape_.num_channels},
            .z = {z_.data(), shape_.num_channels},
            .b = {b_.data(), shape_.num_states},
            .c = {c_.data(), shape_.num_states},
            .a_ND = a_.data(),
            .skip_D = per_channel_.data(),
            .dt_bias_D = per_channel_.data()};
  }
  lowbank::ConvOperands<float> conv_operands() const {
    return {.num_tokens = shape_.num_tokens,
            .num_channels = shape_.num_channels,
            .width = kConvWidth,
            .x = {u_.data(), shape_.num_channels},
            .before = {z_.data(), shape_.num_channels},
            .weight_WD = weight_.data(),
            .bias_D = per_channel_.data()};
  }

  Shape shape_;
  Floats u_, dt_, z_, b_, c_, a_, per_channel_, weight_;
  Floats y_, grad_u_, grad_dt_, grad_z_, state_, grad_a_, chunk_states_, grad_b_, grad_c_, sums_;
};

// Measures this thread's processor time, so that other work on the machine does not count.
template <class Function>
double seconds_of(const Function& function) {
  const auto now = [] {
    timespec time = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  function();
  return now() - start;
}

}  // namespace

int main(int argc, char** argv) try {
  Shape shape;
  std::int64_t* const fields[] = {&shape.num_tokens, &shape.num_channels, &shape.num_states,
                                  &shape.num_rounds};
  for (int i = 1; i < argc; ++i) {
    // As many tokens as the convolution is wide at least: they share buffers with its state.
    const std::int64_t least = i == 1 ? kConvWidth : 1;
    const std::string_view word = argv[i];
    std::int64_t value = 0;
    const auto end = std::from_chars(word.begin(), word.end(), value);
    if (i > 4 || end.ec != std::errc() || end.ptr != word.end() || value < least) {
      fmt::print(stderr,
                 "usage: selective_scan_core_bench [TOKENS [CHANNELS [STATES [ROUNDS]]]], "
                 "TOKENS from {} on\n",
                 kConvWidth);
      return 2;
    }
    *fields[i - 1] = value;
  }
  Buffers buffers(shape);
  using Kernel = void (Buffers::*)();
  const std::pair<const char*, Kernel> kernels[] = {{"scan forward", &Buffers::scan_forward},
                                                    {"scan backward", &Buffers::scan_backward},
                                                    {"conv forward", &Buffers::conv_forward},
                                                    {"conv backward", &Buffers::conv_backward}};
  const auto isas = lowbank::usable_cpu_isas();
  // The outer loop is over rounds, so that a busy moment of the machine slows every variant down.
  std::vector<double> best(isas.size() * std::size(kernels),
                           std::numeric_limits<double>::infinity());
  for (std::int64_t round = 0; round < shape.num_rounds; ++round) {
    for (std::size_t i = 0; i < best.size(); ++i) {
      const Kernel kernel = kernels[i % std::size(kernels)].second;
      lowbank::use_cpu_isa(isas[i / std::size(kernels)]);
      best[i] = std::min(best[i], seconds_of([&] { (buffers.*kernel)(); }));
    }
  }
  const auto updates =
      static_cast<double>(shape.num_tokens * shape.num_channels * shape.num_states);
  fmt::print("tokens {}, channels {}, states {}, one thread, best of {}\n", shape.num_tokens,
             shape.num_channels, shape.num_states, shape.num_rounds);
  for (std::size_t i = 0; i < best.size(); ++i) {
    fmt::print("{:9} {:14} {:9.3f} ms  {:7.4f} ns per state update\n",
               lowbank::cpu_isa_name(isas[i / std::size(kernels)]),
               kernels[i % std::size(kernels)].first, best[i] * 1e3, best[i] * 1e9 / updates);
  }
  return 0;
} catch (const std::exception& error) {
  std::fputs(error.what(), stderr);
  return 1;
}
