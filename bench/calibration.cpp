#include "bench/calibration.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <unistd.h>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/bench_case.h"
#include "core/atomic_file.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stats.h"
#include "kernels/causal_conv.h"
#include "kernels/linear.h"
#include "kernels/normal_fill.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/selective_scan.h"
#include "kernels/small_linear.h"
#include "kernels/swiglu.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "models/layers.h"
#include "models/make_workload.h"
#include "models/operator_list.h"
#include "pim/cpu_fit.h"
#include "pim/estimator.h"

namespace lowbank {
namespace {

constexpr double kRoundSeconds = 2e-3;  // a round of a kernel takes at least this long
// Before each kernel one thread works alone for this long, as between the kernels of a model, so
// that the other threads have begun to wait.
constexpr double kPauseSeconds = 1e-5;
constexpr std::int64_t kMaxCalls = 200;
constexpr std::size_t kHeldOutEvery = 3;
constexpr std::int64_t kDecodeSteps = 32;
constexpr float kAnyValue = 0.01F;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double seconds_after_pause(const BenchWork& work) {
  const auto pause = std::chrono::steady_clock::now();
  while (seconds_since(pause) < kPauseSeconds) {
  }
  const auto start = std::chrono::steady_clock::now();
  work();
  return seconds_since(start);
}

// Size of the last-level cache in bytes. The system's figure comes first, because a virtual
// processor may report the cache of the whole physical machine.
double cache_size() {
  for (const char* const level : {"3", "2"}) {
    std::ifstream file(std::string("/sys/devices/system/cpu/cpu0/cache/index") + level + "/size");
    double kibibytes = 0;
    if (file >> kibibytes && kibibytes > 0) return kibibytes * 1024;
  }
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? static_cast<double>(bytes) : std::size_t{1} << 20;
}

// Operands that are not in the cache when they are read, like a model's weights: successive views
// of one large buffer, starting again at its end.
class Stream {
 public:
  Stream(std::int64_t bytes, c10::ScalarType type)
      : values_(at::empty({bytes / static_cast<std::int64_t>(c10::elementSize(type))}, type)) {
    // All values differ, because a system may store equal pages only once.
    normal_fill_(values_, RandomKey(0).derive("bench"));
  }

  torch::Tensor next(at::IntArrayRef sizes) {
    const std::int64_t count = c10::multiply_integers(sizes);
    if (begin_ + count > values_.numel()) begin_ = 0;
    const auto view = values_.narrow(0, begin_, count).view(sizes);
    begin_ += (count + kLine - 1) / kLine * kLine;
    return view;
  }
  double bytes() const { return static_cast<double>(values_.nbytes()); }

 private:
  static constexpr std::int64_t kLine = 64;  // elements: views begin at a cache line
  torch::Tensor values_;
  std::int64_t begin_ = 0;
};

struct TimedKernel {
  pim::CpuSample sample;
  BenchWork work;
  std::int64_t calls = 1;  // calls per round
  std::vector<double> seconds = {};
};

class KernelList {
 public:
  KernelList(const CalibrationGrid& grid, double cache_bytes, c10::ScalarType type)
      : grid_(grid),
        cache_bytes_(cache_bytes),
        type_(type),
        memory_(std::make_shared<Stream>(
            std::max(grid.streamed_bytes, static_cast<std::int64_t>(4 * cache_bytes)), type)),
        cache_(std::make_shared<Stream>(static_cast<std::int64_t>(cache_bytes / 4), type)) {}

  std::vector<TimedKernel> take() {
    add_few_rows();
    add_linears();
    add_attention();
    add_decode_attention();
    add_norms();
    add_activations();
    add_mamba();
    return std::move(kernels_);
  }

 private:
  torch::Tensor values(at::IntArrayRef sizes) const { return at::full(sizes, kAnyValue, type_); }
  OperatorList operators(std::int64_t rows) const {
    return {rows, static_cast<double>(c10::elementSize(type_))};
  }
  void add(const std::string& kernel, std::string name, std::vector<pim::Operator> operators,
           BenchWork work, double cached_frac = 1) {
    auto& count = counts_[kernel];
    kernels_.push_back({.sample = {.kernel = kernel,
                                   .name = std::move(name),
                                   .operators = std::move(operators),
                                   .cached_frac = cached_frac,
                                   .is_held_out = count % kHeldOutEvery == kHeldOutEvery - 1},
                        .work = std::move(work)});
    ++count;
  }

  void add_few_rows() {
    for (const auto& [stream, where] : {std::pair(memory_, "memory"), std::pair(cache_, "cache")}) {
      const double cached_frac = std::min(1.0, cache_bytes_ / stream->bytes());
      for (const auto& weight : grid_.weights) {
        if (weight.out * weight.in * static_cast<std::int64_t>(c10::elementSize(type_)) * 4 >
            static_cast<std::int64_t>(stream->bytes())) {
          continue;
        }
        for (const std::int64_t rows : grid_.few_rows) {
          auto list = operators(rows);
          list.add_product("linear", weight.in, weight.out);
          const auto x = values({rows, weight.in});
          add(
              "few_rows", fmt::format("{}x{}x{} {}", rows, weight.out, weight.in, where),
              list.take(),
              [x, weight, stream = stream] {
                apply_linear(x, stream->next({weight.out, weight.in}), {});
              },
              cached_frac);
        }
      }
    }
  }

  void add_linears() {
    for (const auto& weight : grid_.weights) {
      for (const std::int64_t rows : grid_.rows) {
        auto list = operators(rows);
        list.add_product("linear", weight.in, weight.out);
        const auto x = values({rows, weight.in});
        add("linear", fmt::format("{}x{}x{}", rows, weight.out, weight.in), list.take(),
            [x, weight, stream = memory_] {
              apply_linear(x, stream->next({weight.out, weight.in}), {});
            });
      }
    }
  }

  void add_attention() {
    for (const auto& a : grid_.prompts) {
      auto list = operators(a.batch * a.tokens);
      list.add_attention("attention", a.tokens, a.tokens, a.head_dim, a.batch * a.heads,
                         static_cast<double>(a.heads) / static_cast<double>(a.key_heads));
      // The layout is that of the models.
      const auto heads = [&](std::int64_t num_heads) {
        return values({a.batch, a.tokens, num_heads, a.head_dim}).transpose(1, 2);
      };
      const auto q = a.is_causal ? heads(a.heads).contiguous() : heads(a.heads);
      const auto k = a.is_causal ? heads(a.key_heads).contiguous() : heads(a.key_heads);
      const auto v = heads(a.key_heads);
      add("attention",
          fmt::format("{}x{}x{}x{}{}", a.batch, a.heads, a.tokens, a.head_dim,
                      a.is_causal ? " causal" : ""),
          list.take(), [q, k, v, a] {
            const auto mixed = a.is_causal ? causal_attention(q, k, v, {})
                                           : at::scaled_dot_product_attention(q, k, v);
            mixed.transpose(1, 2).reshape({a.batch, a.tokens, -1});
          });
    }
  }

  void add_decode_attention() {
    for (const auto& [stream, where] : {std::pair(memory_, "memory"), std::pair(cache_, "cache")}) {
      const double cached_frac = std::min(1.0, cache_bytes_ / stream->bytes());
      for (const auto& a : grid_.caches) {
        const std::int64_t bytes = a.batch * a.key_heads * a.tokens * a.head_dim *
                                   static_cast<std::int64_t>(c10::elementSize(type_));
        if (8 * bytes > static_cast<std::int64_t>(stream->bytes())) continue;
        auto list = operators(a.batch);
        list.add_attention("attention", 1, a.tokens, a.head_dim, a.batch * a.heads,
                           static_cast<double>(a.heads) / static_cast<double>(a.key_heads));
        const auto q = values({a.batch, a.heads, 1, a.head_dim});
        add(
            "decode_attention",
            fmt::format("{}x{}x{}x{} {}", a.batch, a.heads, a.tokens, a.head_dim, where),
            list.take(),
            [q, a, stream = stream] {
              const auto k = stream->next({a.batch, a.key_heads, a.tokens, a.head_dim});
              const auto v = stream->next({a.batch, a.key_heads, a.tokens, a.head_dim});
              causal_attention(q, k, v, {}).transpose(1, 2).reshape({a.batch, 1, -1});
            },
            cached_frac);
      }
    }
  }

  // Norms with the residual sum before them, which workloads do not list as an operator.
  void add_norms() {
    for (const std::int64_t features : grid_.features) {
      for (const std::int64_t rows : grid_.elementwise) {
        const auto x = values({1, rows, features}), residual = values({1, rows, features});
        const auto weight = values({features}), bias = values({features});
        const auto add_norm = [&](const char* what, BenchWork work) {
          auto list = operators(rows);
          list.add_norm("norm", features);
          add("norm", fmt::format("{}x{} {}", rows, features, what), list.take(), std::move(work));
        };
        add_norm("rms", [x, residual, weight] { rms_norm(x + residual, weight, 1e-5); });
        add_norm("layer", [x, residual, weight, bias] {
          at::layer_norm(x + residual, weight.sizes(), weight, bias, 1e-5);
        });
      }
    }
  }

  void add_activations() {
    for (const std::int64_t features : grid_.features) {
      for (const std::int64_t rows : grid_.elementwise) {
        const auto x = values({1, rows, features}), y = values({1, rows, features});
        const auto add_activation = [&](const char* what, std::int64_t num_inputs, BenchWork work) {
          auto list = operators(rows);
          list.add_activation("act", features, num_inputs);
          add("activation", fmt::format("{}x{} {}", rows, features, what), list.take(),
              std::move(work));
        };
        add_activation("swiglu", 2, [x, y] { swiglu(x, y); });
        add_activation("gelu", 1, [x] { at::gelu(x); });
        constexpr std::int64_t kHeadDim = 64;
        if (features % (4 * kHeadDim) != 0) continue;
        // Three query heads for each key head, in two calls.
        const auto cos = values({rows, 1, kHeadDim}), sin = values({rows, 1, kHeadDim});
        const auto q = x.narrow(-1, 0, features / 4 * 3).reshape({1, rows, -1, kHeadDim});
        const auto k = x.narrow(-1, 0, features / 4).reshape({1, rows, -1, kHeadDim});
        add_activation("rotary", 1, [q, k, cos, sin] {
          rotary(q, cos, sin);
          rotary(k, cos, sin);
        });
      }
    }
  }

  // As in the mixer, the convolution includes the activation after it and the scan includes its
  // gate.
  void add_mamba() {
    constexpr std::int64_t kWidth = 4, kStates = 16;
    for (const std::int64_t features : grid_.features) {
      for (const std::int64_t tokens : grid_.scan_tokens) {
        const bool is_step = tokens == 1;
        const auto projected = values({1, tokens, 2 * features});
        const auto u = projected.narrow(-1, 0, features),
                   z = projected.narrow(-1, features, features);
        const auto weight = values({features, kWidth}), bias = values({features});
        const auto conv_state = values({1, kWidth - 1, features});
        auto conv = operators(tokens);
        conv.add_conv("conv", 1, features, kWidth, true);
        conv.add_activation("act", features, 1);
        add("conv", fmt::format("{}x{}", tokens, features), conv.take(),
            is_step ? BenchWork([=] { causal_conv_step(conv_state, u.select(1, 0), weight, bias); })
                    : BenchWork(
                          [=] { causal_conv({.x_BTD = u, .weight_DW = weight, .bias_D = bias}); }));
        const auto dt = values({1, tokens, features}), skip = values({features});
        const auto decay = -values({kStates, features}).to(c10::kFloat);
        const auto in = values({1, tokens, kStates}), out = values({1, tokens, kStates});
        const auto state = values({1, kStates, features}).to(c10::kFloat);
        auto scan = operators(tokens);
        scan.add_scan("scan", 1, features, kStates);
        scan.add_activation("gate", features, 2);
        add("scan", fmt::format("{}x{}", tokens, features), scan.take(),
            is_step ? BenchWork([=] {
              selective_scan_step(state, {.u_BD = u.select(1, 0),
                                          .dt_BD = dt.select(1, 0),
                                          .A_ND = decay,
                                          .B_BN = in.select(1, 0),
                                          .C_BN = out.select(1, 0),
                                          .D_D = skip,
                                          .z_BD = z.select(1, 0)});
            })
                    : BenchWork([=] {
                        selective_scan({.u_BTD = u,
                                        .dt_BTD = dt,
                                        .A_ND = decay,
                                        .B_BTN = in,
                                        .C_BTN = out,
                                        .D_D = skip,
                                        .z_BTD = z});
                      }));
      }
    }
  }

  const CalibrationGrid& grid_;
  double cache_bytes_;
  c10::ScalarType type_;
  std::shared_ptr<Stream> memory_, cache_;
  std::map<std::string, std::size_t> counts_;
  std::vector<TimedKernel> kernels_;
};

// One phase of a whole model.
struct TimedModel {
  std::string name;
  pim::Workload workload;
  pim::Phase phase = pim::Phase::kPrefill;
  std::function<std::vector<double>()> time = {};  ///< seconds of one run, or of several
  std::vector<double> seconds = {};
};

void add_models(std::vector<TimedModel>& all, const LoadedModel& loaded, std::int64_t batch,
                std::int64_t tokens) {
  const auto model = loaded.model;
  WorkloadOptions options = {.batch = batch, .context = tokens, .phases = WorkloadPhases::kPrefill};
  const auto ids_BT = at::randint(0, model->vocab_size(), {batch, tokens}, at::kLong);
  pim::Workload prompt = make_workload(loaded, options);
  const std::string name = prompt.model;
  all.push_back({.name = fmt::format("{} forward {}x{}", name, batch, tokens),
                 .workload = std::move(prompt),
                 .phase = pim::Phase::kPrefill,
                 .time = [model, ids_BT]() -> std::vector<double> {
                   const auto start = std::chrono::steady_clock::now();
                   model->forward(ids_BT);
                   return {seconds_since(start)};
                 }});
  if (!model->is_causal() || batch > 1) return;
  // The steps read about `tokens` keys on average.
  const std::int64_t num_prompt = std::max<std::int64_t>(1, tokens - kDecodeSteps / 2);
  const auto prompt_BT = ids_BT.narrow(1, 0, num_prompt);
  options.phases = WorkloadPhases::kDecode;
  options.context = num_prompt + kDecodeSteps / 2;
  all.push_back({.name = fmt::format("{} decode after {}", name, options.context),
                 .workload = make_workload(loaded, options),
                 .phase = pim::Phase::kDecode,
                 .time = [model, prompt_BT] {
                   const auto state = model->make_state(1, prompt_BT.size(1) + kDecodeSteps);
                   const auto next = [&](const torch::Tensor& ids) {
                     const auto hidden = model->hidden_states(ids, state.get());
                     return model->head(hidden.narrow(1, hidden.size(1) - 1, 1)).argmax(-1);
                   };
                   auto ids = next(prompt_BT);
                   std::vector<double> seconds;
                   for (std::int64_t i = 0; i < kDecodeSteps; ++i) {
                     const auto start = std::chrono::steady_clock::now();
                     ids = next(ids);
                     seconds.push_back(seconds_since(start));
                   }
                   return seconds;
                 }});
}

std::vector<TimedModel> make_models(const CalibrationOptions& options,
                                    const CalibrationGrid& grid) {
  std::vector<TimedModel> models;
  if (!options.model.empty()) {
    const auto loaded = load_model(options.model, c10::kCPU, options.type);
    loaded.model->eval();
    const std::int64_t longest = loaded.model->max_context();
    add_models(models, loaded, 1,
               longest > 0 ? std::min(longest, grid.model_tokens) : grid.model_tokens);
    return models;
  }
  for (const auto& shape : grid.models) {
    LoadedModel loaded;
    loaded.model = make_random_model(shape_config(shape), RandomKey(0).derive("bench"), c10::kCPU,
                                     options.type);
    loaded.model->eval();
    loaded.folder = shape;
    loaded.meta.base_model = shape;
    add_models(models, loaded, 1, grid.model_tokens);
    if (!loaded.model->is_causal()) add_models(models, loaded, 32, 128);
  }
  return models;
}

void measure(std::vector<TimedKernel>& kernels, std::vector<TimedModel>& models,
             std::int64_t runs) {
  // One round times everything once, so that a slow minute of the machine hits all of it.
  ProgressBar bar("calibrate", runs + 1, "round");
  for (std::int64_t round = 0; round <= runs; ++round) {
    for (auto& kernel : kernels) {
      stop_if_interrupted();
      // Every call is timed by itself: the median ignores calls in which another process had the
      // core.
      for (std::int64_t i = 0; i < kernel.calls; ++i) {
        const double seconds = seconds_after_pause(kernel.work);
        if (round > 0) kernel.seconds.push_back(seconds);
      }
      if (round == 0) {
        const double seconds = seconds_after_pause(kernel.work);
        kernel.calls = std::clamp(static_cast<std::int64_t>(kRoundSeconds / seconds) + 1,
                                  std::int64_t{1}, kMaxCalls);
      }
    }
    for (auto& model : models) {
      stop_if_interrupted();
      const auto seconds = model.time();
      if (round > 0) model.seconds.insert(model.seconds.end(), seconds.begin(), seconds.end());
    }
    bar.update(round + 1);
  }
}

}  // namespace

CalibrationGrid full_grid() {
  CalibrationGrid grid;
  // SmolLM2-135M, MiniLM, Mamba-130M, and two larger ones.
  grid.weights = {{576, 576},  {192, 576},  {1536, 576},  {576, 1536},  {384, 384},
                  {1536, 384}, {384, 1536}, {3072, 768},  {768, 1536},  {80, 1536},
                  {1536, 48},  {256, 256},  {2048, 2048}, {8192, 2048}, {49152, 576}};
  grid.prompts = {{1, 9, 3, 512, 64, true},    {1, 9, 3, 128, 64, true},
                  {4, 9, 3, 256, 64, true},    {1, 16, 16, 256, 64, true},
                  {1, 16, 4, 512, 128, true},  {1, 12, 12, 512, 32, false},
                  {8, 12, 12, 128, 32, false}, {2, 12, 12, 256, 64, false},
                  {1, 32, 8, 1024, 64, true},  {16, 12, 12, 64, 32, false}};
  grid.caches = {{1, 9, 3, 64, 64, true},     {1, 9, 3, 512, 64, true},
                 {1, 9, 3, 2048, 64, true},   {1, 32, 8, 256, 64, true},
                 {1, 32, 8, 1024, 128, true}, {1, 32, 8, 4096, 128, true},
                 {4, 9, 3, 512, 64, true},    {1, 12, 12, 1024, 64, true}};
  grid.elementwise = {1, 8, 64, 512, 2048};
  grid.scan_tokens = {1, 16, 128, 512, 2048};
  grid.features = {384, 768, 1536, 2048};
  grid.streamed_bytes = std::int64_t{512} << 20;
  grid.models = {"smollm2-135m", "minilm-l6", "mamba-130m"};
  return grid;
}

void calibrate(const CalibrationOptions& options, const CalibrationGrid& grid, Metrics& metrics) {
  AtomicFile file(options.output);  // opened first, so that a bad path fails before the work
  const c10::InferenceMode guard;
  const double cache_bytes = cache_size();
  auto kernels = KernelList(grid, cache_bytes, options.type).take();
  auto models = make_models(options, grid);
  measure(kernels, models, options.runs);

  std::vector<pim::CpuSample> samples;
  for (auto& kernel : kernels) {
    kernel.sample.time_ns = 1e9 * median(kernel.seconds);
    samples.push_back(kernel.sample);
  }
  const std::string machine = fmt::format("{}, {} threads, {:%Y-%m-%d}", cpu_name(),
                                          at::get_num_threads(), fmt::gmtime(std::time(nullptr)));
  const std::string source = "measured by lowbank bench --calibrate on " + machine;
  pim::CpuFit fit =
      pim::fit_cpu(samples, cache_bytes, static_cast<double>(c10::elementSize(options.type)),
                   "This toolkit's kernels on " + machine, source);

  metrics["device"] = cpu_name();
  metrics["kernels"] = Metrics::array();
  for (const auto& error : fit.errors) {
    metrics["kernels"].push_back({{"kernel", error.kernel},
                                  {"num_fitted", error.num_fitted},
                                  {"num_held_out", error.num_held_out},
                                  {"fitted_median_frac", error.fitted_median_frac},
                                  {"held_out_median_frac", error.held_out_median_frac},
                                  {"held_out_max_frac", error.held_out_max_frac}});
    lowbank::print(
        "{:<18} {:3} kernels fitted, {:3} held out: median error {:5.1f} %, largest {:5.1f} %",
        error.kernel, error.num_fitted, error.num_held_out, 100 * error.held_out_median_frac,
        100 * error.held_out_max_frac);
  }
  metrics["samples"] = Metrics::array();
  for (const auto& sample : samples) {
    metrics["samples"].push_back({{"kernel", sample.kernel},
                                  {"name", sample.name},
                                  {"is_held_out", sample.is_held_out},
                                  {"measured_s", 1e-9 * sample.time_ns},
                                  {"modelled_s", 1e-9 * pim::cpu_sample_ns(fit.preset, sample)}});
  }

  const auto system = pim::make_system({fit.preset}, pim::SystemOptions{});
  metrics["comparison"] = Metrics::array();
  std::vector<double> errors_frac;
  for (const auto& model : models) {
    const double measured_s = median(model.seconds);
    const pim::PhaseCost cost = system->price(model.workload, model.phase);
    const double modelled_s = 1e-9 * cost.latency_ns;
    const double error_frac = modelled_s / measured_s - 1;
    errors_frac.push_back(std::abs(error_frac));
    Metrics row = {{"case", model.name},
                   {"measured_s", measured_s},
                   {"modelled_s", modelled_s},
                   {"error_frac", error_frac}};
    for (const auto& [category, ns] : cost.time_ns.parts()) {
      row["modelled_by_category_s"][category] = 1e-9 * ns;
    }

    const auto [fastest, slowest] = std::minmax_element(model.seconds.begin(), model.seconds.end());
    row["spread"] = (*slowest - *fastest) / measured_s;
    lowbank::print("{:<32} measured {:9.3f} ms   modelled {:9.3f} ms   error {:+5.1f} %",
                   model.name, 1e3 * measured_s, 1e3 * modelled_s, 100 * error_frac);
    metrics["comparison"].push_back(std::move(row));
  }
  pim::set_model_errors(fit.preset, errors_frac, source);
  const std::string text = pim::preset_to_json(fit.preset);
  pim::preset_from_json(text, fit.preset.name, options.output);  // checks that it can be read
  file.write(text);
  file.commit();
  metrics["preset"] = options.output;
  metrics["model_error_median_frac"] = fit.preset.value("model_error_median_frac");
  metrics["model_error_max_frac"] = fit.preset.value("model_error_max_frac");
  print_line(options.output);
}

}  // namespace lowbank
