#include "pim/gpu_kernel_fit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "core/stats.h"
#include "pim/fit_search.h"

namespace lowbank::pim {
namespace {

using TimedKernels = std::vector<TimedKernel>;

constexpr double kUsualS = 30e-6;
constexpr double kUsualTokens = 128;
constexpr double kUsualBytes = 1e6;
constexpr double kUsualLaunchedS = 100e-6;  // where launches are in the time
constexpr std::size_t kLeastKernels = 10;
// Between the absolute and the squared, and bounded: both the median and the 90th percentile count,
// and kernels that an engine chose badly do not lead the fit.
constexpr double kKernelPower = 1.4;
constexpr double kMostKernelError = 0.5;
constexpr double kFarError = 3;
constexpr double kUnusualWeight = 0.1;
// What few kernels do not tell is drawn to its usual value.
constexpr double kKernelPriorWeight = 0.1;
constexpr double kKernelPriorWidth = 0.5;  // of the logarithm

struct LineKind {
  const char* kind;    // in a table
  const char* prefix;  // of its constants
};
constexpr LineKind kLineKinds[] = {{"silu", "activation"}, {"gelu", "activation"},
                                   {"act", "activation"},  {"norm", "norm"},
                                   {"softmax", "softmax"}, {"embedding", "embedding"},
                                   {"rotary", "rotary"},   {"residual_add", "residual_add"}};

constexpr const char* kAllReduce = "all_reduce ";
// What moving a byte costs beyond the board, where the links leave the machine.
constexpr double kSystemPjPerByte = 2000;

std::string line_prefix(const std::string& kind) {
  for (const auto& entry : kLineKinds) {
    if (kind == entry.kind) return entry.prefix;
  }
  return "";
}

std::uint64_t hash_of(std::initializer_list<std::string_view> cells) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const auto cell : cells) {
    for (const char c : cell) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash = (hash ^ ',') * 1099511628211ULL;
  }
  return hash ^ (hash >> 32);
}

double number(const CsvTable& table, std::size_t row, const char* column) {
  const std::string& text = table.text(row, column);
  return text.empty() || text == "0" ? 0.0 : table.positive(row, column);
}

std::string engine_of(const CsvTable& table, std::size_t row, const char* column) {
  if (!table.has_column(column)) return "";
  const std::string& text = table.text(row, column);
  return text.substr(0, text.find(' '));
}

void read_attention(const CsvTable& table, std::size_t row, TimedKernel& kernel) {
  const std::string& phase = table.text(row, "phase");
  if (phase != "prefill" && phase != "encoder" && phase != "decode") {
    throw ConfigError(fmt::format("{}: phase: must be prefill, encoder or decode; got '{}'",
                                  table.where(row), phase));
  }
  const std::string includes =
      table.has_column("includes") ? table.text(row, "includes") : "kv_write";
  kernel.kind = phase == "decode" ? "decode_attention" : "prompt_attention";
  kernel.attention = {.batch = number(table, row, "batch"),
                      .query_heads = number(table, row, "query_heads"),
                      .kv_heads = number(table, row, "kv_heads"),
                      .head_dim = number(table, row, "head_dim"),
                      .queries = number(table, row, "query_tokens"),
                      .cached = number(table, row, "cached_tokens"),
                      .window = number(table, row, "window"),
                      .is_causal = phase != "encoder",
                      .kv_bytes = table.text(row, "kv_dtype") == "fp8" ? 1.0 : 2.0,
                      .writes_cache = includes.find("kv_write") != std::string::npos,
                      .rotates = includes.find("rope") != std::string::npos};
  kernel.source = engine_of(table, row, "engine");
  kernel.is_usual = kernel.time_s.value_or(1) > kUsualS &&
                    kernel.attention.cached + kernel.attention.queries >= kUsualTokens;
  kernel.shape_hash = hash_of({table.text(row, "batch"), table.text(row, "query_heads"),
                               table.text(row, "kv_heads"), table.text(row, "head_dim"),
                               table.text(row, "query_tokens"), table.text(row, "cached_tokens")});
}

void read_elementwise(const CsvTable& table, std::size_t row, TimedKernel& kernel) {
  kernel.kind = table.text(row, "kind");
  if (line_prefix(kernel.kind).empty()) {
    throw ConfigError(
        fmt::format("{}: kind: unknown elementwise kernel '{}'", table.where(row), kernel.kind));
  }
  kernel.bytes = number(table, row, "bytes_read") + number(table, row, "bytes_written");
  kernel.columns = number(table, row, "n");
  kernel.is_launched = table.has_column("timed") && table.text(row, "timed") == "eager call";
  kernel.source = engine_of(table, row, "source");
  kernel.is_usual = kernel.time_s.value_or(1) > (kernel.is_launched ? kUsualLaunchedS : kUsualS);
  kernel.shape_hash = hash_of({table.text(row, "m"), table.text(row, "n")});
}

// False for what no rule is for.
bool read_all_reduce(const CsvTable& table, std::size_t row, TimedKernel& kernel) {
  if (table.text(row, "collective") != "all_reduce") return false;
  kernel.kind = kAllReduce + table.text(row, "interconnect");
  kernel.bytes = number(table, row, "bytes");
  kernel.num_gpus = number(table, row, "num_gpus");
  kernel.is_direct = table.text(row, "kind") == "custom_graph";
  kernel.source = engine_of(table, row, "library");
  kernel.is_usual = kernel.bytes >= kUsualBytes;
  kernel.shape_hash = hash_of({table.text(row, "bytes")});
  return true;
}

bool read_states(const CsvTable& table, std::size_t row, TimedKernel& kernel) {
  const std::string& type = table.text(row, "state_dtype");
  if (!table.text(row, "operator").ends_with("_state_update") || type.empty()) return false;
  kernel.kind = "state_update";
  kernel.num_states = number(table, row, "batch") * number(table, row, "v_heads");
  kernel.rows = number(table, row, "head_k_dim");
  kernel.columns = number(table, row, "head_v_dim");
  kernel.state_bytes = type == "f32" ? 4 : 2;
  kernel.source = engine_of(table, row, "engine");
  kernel.is_usual = kernel.time_s.value_or(1) > kUsualS;
  kernel.shape_hash = hash_of({table.text(row, "batch"), table.text(row, "v_heads")});
  return true;
}

GpuLine line_of(const SystemPreset& preset, const std::string& kind) {
  return gpu_line(preset.with_hardware(/*as_built=*/true), line_prefix(kind));
}

template <class Rule>
struct RuleFit {
  Rule rule;
  std::vector<std::pair<std::string, double>> values;
};

// Rules are copied from `start`, which has the machine's peaks.
template <class Rule, class TimeOf>
RuleFit<Rule> fit_rule(const Rule& start, std::span<const RuleConstant<Rule>> constants,
                       const TimedKernels& kernels, const TimeOf& time_s) {
  const auto with = [&](const Vector& logs) {
    Rule rule = start;
    for (std::size_t i = 0; i < constants.size(); ++i) {
      rule.*constants[i].member = std::min(std::exp(logs[i]), constants[i].most);
    }
    return rule;
  };
  Vector usual;
  for (const auto& constant : constants) usual.push_back(std::log(constant.usual));
  const auto loss = [&](const Vector& logs, double most_error) {
    const Rule rule = with(logs);
    double sum = 0;
    for (const TimedKernel& kernel : kernels) {
      const double error = std::abs(std::log(time_s(rule, kernel) / *kernel.time_s));
      sum +=
          (kernel.is_usual ? 1.0 : kUnusualWeight) *
          std::pow(std::isfinite(error) ? std::min(error, most_error) : most_error, kKernelPower);
    }
    for (std::size_t i = 0; i < logs.size(); ++i) {
      sum += kKernelPriorWeight * (std::hypot(1.0, (logs[i] - usual[i]) / kKernelPriorWidth) - 1);
    }
    return sum;
  };
  // Bounded errors lead nowhere from afar.
  Vector logs = usual;
  for (const double most_error : {kFarError, kMostKernelError}) {
    logs = minimise([&](const Vector& at) { return loss(at, most_error); }, logs);
  }
  RuleFit<Rule> fit{.rule = with(logs), .values = {}};
  for (const auto& constant : constants) {
    fit.values.emplace_back(constant.key, fit.rule.*constant.member);
  }
  return fit;
}

// Errors of the usual kernels, each half with a rule that was fitted to the other.
template <class FitTo>
KindFit held_out(const std::string& kind, const TimedKernels& kernels, bool is_fitted,
                 const FitTo& time_after_fit_to) {
  KindFit result{.kind = kind,
                 .num_kernels = static_cast<std::int64_t>(kernels.size()),
                 .is_fitted = is_fitted};
  Vector errors;
  std::map<std::string, Vector> by_source;
  for (const std::uint64_t half : {0U, 1U}) {
    TimedKernels rest;
    std::copy_if(kernels.begin(), kernels.end(), std::back_inserter(rest),
                 [&](const TimedKernel& kernel) { return kernel.shape_hash % 2 != half; });
    const auto time_s = time_after_fit_to(rest.empty() ? kernels : rest);
    for (const TimedKernel& kernel : kernels) {
      if (kernel.shape_hash % 2 != half || !kernel.is_usual) continue;
      const double error = std::abs(time_s(kernel) / *kernel.time_s - 1);
      errors.push_back(error);
      by_source[kernel.source].push_back(error);
    }
  }
  result.num_usual = static_cast<std::int64_t>(errors.size());
  if (errors.empty()) return result;
  result.held_out = time_error(errors);
  for (const auto& [source, each] : by_source) {
    result.by_source.emplace_back(source, time_error(each));
  }
  return result;
}

class KernelFitter {
 public:
  KernelFitter(const SystemPreset& start, std::string source)
      : fit_{.preset = start, .links = {}, .kinds = {}}, source_(std::move(source)) {}

  void add(const std::string& kind, const TimedKernels& kernels) {
    const SystemPreset machine = fit_.preset.with_hardware(/*as_built=*/true);
    if (kernels.size() < kLeastKernels) return compare(kind, kernels);
    if (kind == "prompt_attention") {
      fit_one(kind, kernels, PromptAttention(machine), PromptAttention::constants(),
              [](const PromptAttention& rule, const TimedKernel& kernel) {
                return rule.seconds(kernel.attention);
              });
    } else if (kind == "decode_attention") {
      fit_one(kind, kernels, DecodeAttention(machine), DecodeAttention::constants(),
              [](const DecodeAttention& rule, const TimedKernel& kernel) {
                return rule.seconds(kernel.attention);
              });
    } else if (kind == "state_update") {
      fit_one(kind, kernels, StateUpdateTimes(machine), StateUpdateTimes::constants(),
              [](const StateUpdateTimes& rule, const TimedKernel& kernel) {
                return rule.seconds(kernel.num_states, kernel.rows, kernel.columns,
                                    kernel.state_bytes);
              });
    } else if (kind == "all_reduce nvlink_switch") {
      fit_all_reduce(kind, kernels, AllReduceTimes(machine));
    } else if (kind.starts_with(kAllReduce)) {
      fit_links(kind, kernels);
    } else if (!line_prefix(kind).empty()) {
      fit_line_of(kind, kernels);
    } else {
      compare(kind, kernels);
    }
  }
  KernelFit result() && { return std::move(fit_); }

 private:
  template <class Rule, class TimeOf>
  void fit_one(const std::string& kind, const TimedKernels& kernels, const Rule& start,
               std::span<const RuleConstant<Rule>> constants, const TimeOf& time_s) {
    const KindFit errors = held_out(kind, kernels, true, [&](const TimedKernels& rest) {
      return [&, rule = fit_rule(start, constants, rest, time_s).rule](const TimedKernel& kernel) {
        return time_s(rule, kernel);
      };
    });
    state(errors, fit_rule(start, constants, kernels, time_s).values, kind);
  }

  // The ring to what surely went by one, the engines' own kernels to the small messages.
  static AllReduceTimes fit_both(const AllReduceTimes& start, const TimedKernels& kernels) {
    TimedKernels ring;
    TimedKernels direct;
    for (const TimedKernel& kernel : kernels) {
      if (!kernel.is_direct || kernel.bytes > start.direct_most_bytes) {
        ring.push_back(kernel);
      } else if (kernel.bytes < kUsualBytes || kernel.source != "trtllm") {
        direct.push_back(kernel);  // TensorRT-LLM's large messages go by NCCL
      }
    }
    AllReduceTimes rule = start;
    if (!ring.empty()) {
      rule = fit_rule(rule, AllReduceTimes::ring_constants(), ring,
                      [](const AllReduceTimes& times, const TimedKernel& kernel) {
                        return times.ring_s(kernel.bytes, kernel.num_gpus);
                      })
                 .rule;
    }
    if (!direct.empty()) {
      for (TimedKernel& kernel : direct) kernel.is_usual = true;
      rule = fit_rule(rule, AllReduceTimes::direct_constants(), direct,
                      [](const AllReduceTimes& times, const TimedKernel& kernel) {
                        return times.direct_s(kernel.bytes, kernel.num_gpus);
                      })
                 .rule;
    }
    return rule;
  }
  void fit_all_reduce(const std::string& kind, const TimedKernels& kernels,
                      const AllReduceTimes& start) {
    const KindFit errors = held_out(kind, kernels, true, [&](const TimedKernels& rest) {
      return [rule = fit_both(start, rest)](const TimedKernel& kernel) {
        return rule.seconds(kernel.bytes, kernel.num_gpus);
      };
    });
    const AllReduceTimes rule = fit_both(start, kernels);
    std::vector<std::pair<std::string, double>> values;
    for (const auto constants :
         {AllReduceTimes::ring_constants(), AllReduceTimes::direct_constants()}) {
      for (const auto& constant : constants) {
        values.emplace_back(constant.key, rule.*constant.member);
      }
    }
    state(errors, values, "all_reduce");
  }

  // Other links than the GPU's own make a preset of their own.
  void fit_links(const std::string& kind, const TimedKernels& kernels) {
    double fastest = 0;
    for (const TimedKernel& kernel : kernels) {
      fastest = std::max(
          fastest, AllReduceTimes::sent_bytes(kernel.bytes, kernel.num_gpus) / *kernel.time_s);
    }
    const bool leaves_machine = kind.find("between") != std::string::npos;
    SystemPreset links;
    links.kind = SystemKind::kLink;
    links.name = fmt::format("link-{}-{}", gpu_name(), kind.substr(std::string(kAllReduce).size()));
    for (char& c : links.name) {
      if (c == '_' || c == '+') c = '-';
    }
    links.about = fmt::format("All-reduces of {} over {}.", fit_.preset.name,
                              kind.substr(std::string(kAllReduce).size()));
    set_constant(links, {.key = "link_bytes_per_s",
                         .value = four_digits(2 * fastest),
                         .unit = constant_unit(SystemKind::kLink, "link_bytes_per_s"),
                         .source = fmt::format(
                             "the fastest all-reduce measured, both directions: {}", source_),
                         .uncertain = ""});
    set_constant(links, {.key = "direct_most_bytes",
                         .value = 0,
                         .unit = constant_unit(SystemKind::kLink, "direct_most_bytes"),
                         .source = "only NCCL was measured",
                         .uncertain = ""});
    set_constant(links,
                 {.key = "link_pj_per_byte",
                  .value = leaves_machine ? kSystemPjPerByte
                                          : fit_.preset.find("link_pj_per_byte").value_or(0),
                  .unit = constant_unit(SystemKind::kLink, "link_pj_per_byte"),
                  .source = "Arunkumar et al., MCM-GPU (ISCA 2017), table 2: links of a board "
                            "10 pJ/bit, of a system 250 pJ/bit",
                  .uncertain = "of another generation of links, not measured here"});
    const AllReduceTimes start(links);
    const auto time_s = [](const AllReduceTimes& times, const TimedKernel& kernel) {
      return times.ring_s(kernel.bytes, kernel.num_gpus);
    };
    const auto constants = AllReduceTimes::ring_constants();
    const KindFit errors = held_out(kind, kernels, true, [&](const TimedKernels& rest) {
      return [&, rule = fit_rule(start, constants, rest, time_s).rule](const TimedKernel& kernel) {
        return time_s(rule, kernel);
      };
    });
    state_in(links, errors, fit_rule(start, constants, kernels, time_s).values, "all_reduce");
    fit_.links.push_back(std::move(links));
  }
  std::string gpu_name() const {
    return fit_.preset.name.starts_with("gpu-") ? fit_.preset.name.substr(4) : fit_.preset.name;
  }

  void fit_line_of(const std::string& kind, const TimedKernels& kernels) {
    const std::string prefix = line_prefix(kind);
    const bool are_launched = kernels.front().is_launched;
    // A call's launch hides that of its kernel: only of softmax is nothing else measured. What two
    // sources differ in is told, not averaged.
    if (kind == "silu" || kind == "gelu" || (kind == "norm" && are_launched)) {
      compare(kind, kernels);
      return;
    }
    const GpuLine start = line_of(fit_.preset, kind);
    const RuleConstant<GpuLine> constants[] = {
        {"_us_per_byte", &GpuLine::us_per_byte, usual_us_per_byte(kernels)},
        {"_us_per_column", &GpuLine::us_per_column, 1e-4},
        {"_launch_us", &GpuLine::launch_us, are_launched ? 15.0 : 3.0}};
    const auto time_s = [](const GpuLine& line, const TimedKernel& kernel) {
      return line.us(kernel.bytes, kernel.columns) * 1e-6;
    };
    const std::span<const RuleConstant<GpuLine>> all(constants);
    const KindFit errors = held_out(kind, kernels, true, [&](const TimedKernels& rest) {
      return [&, line = fit_rule(start, all, rest, time_s).rule](const TimedKernel& kernel) {
        return time_s(line, kernel);
      };
    });
    const GpuLine line = fit_rule(start, all, kernels, time_s).rule;
    const double base =
        fit_.preset.value("memory_bytes_per_s") / fit_.preset.value("elementwise_base_bytes_per_s");
    std::vector<std::pair<std::string, double>> values = {
        {prefix + "_us_per_byte", line.us_per_byte * base},
        {prefix + "_us_per_column", line.us_per_column}};
    if (!are_launched) values.emplace_back(prefix + "_launch_us", line.launch_us);
    state(errors, values, "");
  }

  // Embeddings are some times slower than the memory.
  static double usual_us_per_byte(const TimedKernels& kernels) {
    Vector paces;
    for (const TimedKernel& kernel : kernels) {
      if (kernel.is_usual) paces.push_back(*kernel.time_s * 1e6 / kernel.bytes);
    }
    if (paces.empty()) {
      for (const TimedKernel& kernel : kernels) {
        paces.push_back(*kernel.time_s * 1e6 / kernel.bytes);
      }
    }
    return median(paces);
  }

  void compare(const std::string& kind, const TimedKernels& kernels) {
    fit_.kinds.push_back(held_out(kind, kernels, false, [&](const TimedKernels&) {
      return [&](const TimedKernel& kernel) { return timed_kernel_s(fit_.preset, kernel); };
    }));
  }

  void state(const KindFit& errors, std::vector<std::pair<std::string, double>> values,
             const std::string& prefix) {
    state_in(fit_.preset, errors, std::move(values), prefix);
  }
  void state_in(SystemPreset& preset, const KindFit& errors,
                std::vector<std::pair<std::string, double>> values, const std::string& prefix) {
    if (!prefix.empty() && errors.num_usual > 0) {
      values.emplace_back(prefix + "_error_median_frac", errors.held_out.median_frac);
      values.emplace_back(prefix + "_error_p90_frac", errors.held_out.p90_frac);
    }
    for (const auto& [key, value] : values) {
      Constant constant{
          .key = key,
          .value = four_digits(value),
          .unit = constant_unit(preset.kind, key),
          .source = fmt::format("fitted by lowbank estimate --fit to {} kernels ({}) of {}; "
                                "physical mode only",
                                errors.num_kernels, errors.kind, source_),
          .uncertain =
              errors.num_usual > 0
                  ? fmt::format("on shapes held out: median error {:.1f} %, 90th percentile {:.1f} "
                                "% ({} of usual size)",
                                100 * errors.held_out.median_frac, 100 * errors.held_out.p90_frac,
                                errors.num_usual)
                  : ""};
      set_constant(preset, std::move(constant));
    }
    fit_.kinds.push_back(errors);
  }

  KernelFit fit_;
  std::string source_;
};

}  // namespace

KernelTable kernel_table_of(const CsvTable& table) {
  for (const auto& [column, form] : {std::pair{"query_heads", KernelTable::kAttention},
                                     std::pair{"interconnect", KernelTable::kAllReduce},
                                     std::pair{"bytes_read", KernelTable::kElementwise},
                                     std::pair{"v_heads", KernelTable::kStates}}) {
    if (table.has_column(column)) return form;
  }
  return KernelTable::kProducts;
}

std::vector<std::string> kernel_columns(KernelTable form) {
  switch (form) {
    case KernelTable::kAttention:
      return {"gpu",      "phase",        "batch",         "query_heads", "kv_heads",
              "head_dim", "query_tokens", "cached_tokens", "window",      "kv_dtype"};
    case KernelTable::kAllReduce:
      return {"gpu", "interconnect", "collective", "num_gpus", "bytes", "kind"};
    case KernelTable::kElementwise:
      return {"gpu", "kind", "m", "n", "bytes_read", "bytes_written"};
    case KernelTable::kStates:
      return {"gpu",     "operator",   "phase",      "batch",
              "v_heads", "head_k_dim", "head_v_dim", "state_dtype"};
    case KernelTable::kProducts:
      break;
  }
  return {"gpu", "kind", "m", "n", "k", "dtype"};
}

std::vector<std::optional<TimedKernel>> read_timed_kernels(const CsvTable& table) {
  const KernelTable form = kernel_table_of(table);
  std::vector<std::optional<TimedKernel>> kernels;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    TimedKernel kernel;
    kernel.gpu = table.text(row, "gpu");
    if (table.has_column("time_ms")) kernel.time_s = table.positive(row, "time_ms") * 1e-3;
    bool is_known = true;
    switch (form) {
      case KernelTable::kAttention:
        read_attention(table, row, kernel);
        break;
      case KernelTable::kAllReduce:
        is_known = read_all_reduce(table, row, kernel);
        break;
      case KernelTable::kElementwise:
        read_elementwise(table, row, kernel);
        break;
      case KernelTable::kStates:
        is_known = read_states(table, row, kernel);
        break;
      case KernelTable::kProducts:
        is_known = false;
        break;
    }
    kernels.push_back(is_known ? std::optional(std::move(kernel)) : std::nullopt);
  }
  return kernels;
}

double timed_kernel_s(const SystemPreset& gpu, const TimedKernel& kernel) {
  const SystemPreset machine = gpu.with_hardware(/*as_built=*/true);
  if (kernel.kind == "prompt_attention") return PromptAttention(machine).seconds(kernel.attention);
  if (kernel.kind == "decode_attention") return DecodeAttention(machine).seconds(kernel.attention);
  if (kernel.kind == "state_update") {
    return StateUpdateTimes(machine).seconds(kernel.num_states, kernel.rows, kernel.columns,
                                             kernel.state_bytes);
  }
  if (kernel.kind.starts_with(kAllReduce)) {
    const AllReduceTimes times(machine);
    return kernel.is_direct ? times.seconds(kernel.bytes, kernel.num_gpus)
                            : times.ring_s(kernel.bytes, kernel.num_gpus);
  }
  return line_of(machine, kernel.kind).us(kernel.bytes, kernel.columns) * 1e-6;
}

KernelFit fit_kernels(const SystemPreset& start, const std::vector<TimedKernel>& kernels,
                      const std::string& source) {
  std::vector<std::string> kinds;
  std::map<std::string, TimedKernels> by_kind;
  for (const TimedKernel& kernel : kernels) {
    TimedKernels& mine = by_kind[kernel.kind];
    if (mine.empty()) kinds.push_back(kernel.kind);
    mine.push_back(kernel);
  }
  KernelFitter fitter(start, source);
  for (const std::string& kind : kinds) fitter.add(kind, by_kind[kind]);
  return std::move(fitter).result();
}

}  // namespace lowbank::pim
