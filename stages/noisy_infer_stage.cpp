#include "stages/noisy_infer_stage.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <ATen/ops/arange.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/choose.h"
#include "config/fingerprint.h"
#include "config/results/noisy_infer_metrics.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stats.h"
#include "core/text.h"
#include "eval/generate.h"
#include "eval/perplexity.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/importance_file.h"
#include "nn/svd_linear.h"
#include "noise/noisy_factors.h"
#include "noise/rank_selection.h"
#include "stages/perplexity_options.h"
#include "stages/runtime_options.h"

namespace lowbank {
namespace {

// If nothing or everything is protected, every selection gives the same model, which is scored
// once.
constexpr const char* kAnySelection = "any";

struct Point {
  std::string importance;
  double slc_frac = 0;
  friend auto operator<=>(const Point&, const Point&) = default;
};

std::vector<Point> points_to_score(const NoisyInferConfig& config) {
  std::set<Point> points;
  for (const double slc_frac : config.slc_frac) {
    for (const auto& importance : config.importance) {
      const bool shared = slc_frac == 0 || slc_frac == 1;
      points.insert({shared ? kAnySelection : importance, slc_frac});
    }
  }
  return {points.begin(), points.end()};
}

NoiseOptions noise_options(const NoiseConfig& config) {
  return {
      .model = choose<NoiseModel>(config.model, {{"multiplicative", NoiseModel::kMultiplicative},
                                                 {"additive", NoiseModel::kAdditive}}),
      .sigma = config.sigma,
      .encoding =
          choose<CellEncoding>(config.encoding, {{"twos_complement", CellEncoding::kTwosComplement},
                                                 {"sign_magnitude", CellEncoding::kSignMagnitude},
                                                 {"differential", CellEncoding::kDifferential},
                                                 {"offset_binary", CellEncoding::kOffsetBinary}}),
      .weight_bits = static_cast<int>(config.weight_bits),
      .cell_bits = static_cast<int>(config.cell_bits)};
}

/// Ranks of each factored layer in the order of their importance, by measure ("random" is drawn
/// per trial and is not here).
using RankOrders = std::map<std::string, std::vector<torch::Tensor>>;

RankOrders read_orders(const NoisyInferConfig& config, const LoadedModel& loaded) {
  std::vector<std::pair<std::string, const SvdLinear*>> layers;
  for (const auto& slot : loaded.model->slots()) {
    if (const auto* svd = find_factors(slot, "noise")) layers.push_back({slot.path(), svd});
  }
  if (layers.empty()) {
    throw ConfigError(
        fmt::format("{}: has no factored linear, so there are no ranks to protect; "
                    "run `lowbank compress` first",
                    loaded.folder));
  }
  RankOrders orders;
  for (const auto& name : config.importance) {
    if (name == "random" || orders.contains(name)) continue;
    auto& order = orders[name];
    if (name == "rank_order" || name == "magnitude") {
      for (const auto& [path, svd] : layers) {
        order.push_back(name == "rank_order" ? at::arange(svd->rank(), at::kLong)
                                             : order_ranks(svd->s.detach().abs().cpu()));
      }
      continue;
    }
    if (!std::filesystem::exists(loaded.folder + "/importance.safetensors")) {
      throw ConfigError(
          fmt::format("importance: '{}' needs {}/importance.safetensors, which "
                      "`lowbank redistribute` makes; rank_order, magnitude and "
                      "random work without it",
                      name, loaded.folder));
    }
    const auto importance = read_importance(loaded.folder, name);
    for (const auto& [path, svd] : layers) {
      const auto found = importance.find(path);
      if (found == importance.end() || found->second.size(0) != svd->rank()) {
        throw IoError(fmt::format("{}/importance.safetensors: has no '{}.{}' of {} ranks",
                                  loaded.folder, path, name, svd->rank()));
      }
      order.push_back(order_ranks(found->second));
    }
  }
  return orders;
}

/// The results so far, by point and trial. metrics.jsonl holds them, so that an interrupted run can
/// continue.
class TrialTable {
 public:
  TrialTable(const NoisyInferConfig& config, RunDir& out) : out_(out) {
    const Metrics fingerprint = stage_fingerprint(config, Metrics::object());
    Metrics lines = Metrics::array();
    if (config.resume) {
      lines = out.read_metrics();
      if (!lines.empty() &&
          !same_fingerprint(lines[0].value("fingerprint", Metrics()), fingerprint)) {
        throw ConfigError(out.path() +
                          ": holds trials of other settings or inputs; run without --resume");
      }
    }
    out.begin();
    // Drops a line that was cut off, too.
    out.keep_metrics([&](const Metrics&) { return !lines.empty(); });
    if (lines.empty()) {
      out.append_metrics({{"fingerprint", fingerprint}});
    }
    for (std::size_t i = 1; i < lines.size(); ++i) {
      const JsonReader line(lines[i], fmt::format("{}:{}", out.path("metrics.jsonl"), i + 1),
                            kProgramFile);
      const Point point{line.text("importance"), line.number("slc_frac")};
      nll_[{point, line.at("trial").integer()}] = line.number("nll", std::nan(""));
    }
  }

  bool has(const Point& point, std::int64_t trial) const { return nll_.contains({point, trial}); }
  double at(const Point& point, std::int64_t trial) const { return nll_.at({point, trial}); }
  std::int64_t size() const { return static_cast<std::int64_t>(nll_.size()); }

  void add(const Point& point, std::int64_t trial, double nll) {
    nll_[{point, trial}] = nll;
    out_.append_metrics({{"importance", point.importance},
                         {"slc_frac", point.slc_frac},
                         {"trial", trial},
                         {"nll", nll}});
  }

 private:
  RunDir& out_;
  std::map<std::pair<Point, std::int64_t>, double> nll_;
};

std::vector<torch::Tensor> masks(const NoisyFactors& factors, const RankOrders& orders,
                                 const Point& point, const RandomKey& trial_key) {
  std::vector<torch::Tensor> out;
  for (std::size_t layer = 0; layer < factors.num_layers(); ++layer) {
    const std::int64_t rank = factors.rank(layer);
    torch::Tensor order_R;
    if (point.importance == kAnySelection) {
      order_R = at::arange(rank, at::kLong);
    } else if (point.importance == "random") {
      order_R = random_rank_order(rank, trial_key.derive("selection").derive(factors.path(layer)));
    } else {
      order_R = orders.at(point.importance)[layer];
    }
    out.push_back(protected_mask(order_R, num_protected_ranks(point.slc_frac, rank)));
  }
  return out;
}

std::int64_t protected_ranks(const NoisyFactors& factors, double slc_frac) {
  std::int64_t total = 0;
  for (std::size_t layer = 0; layer < factors.num_layers(); ++layer) {
    total += num_protected_ranks(slc_frac, factors.rank(layer));
  }
  return total;
}

// Number of cells at this SLC share / number of cells without SLC. A protected weight takes one-bit
// cells.
double cells_frac(const NoisyFactors& factors, const NoiseOptions& noise, double slc_frac) {
  const CellCoding slc(noise.encoding, noise.weight_bits, /*cell_bits=*/1);
  const double growth = static_cast<double>(slc.cells_per_weight()) /
                        static_cast<double>(factors.coding().cells_per_weight());
  double cells = 0, weights = 0;
  for (std::size_t layer = 0; layer < factors.num_layers(); ++layer) {
    const auto rank = factors.rank(layer);
    const double share =
        static_cast<double>(num_protected_ranks(slc_frac, rank)) / static_cast<double>(rank);
    const auto count = static_cast<double>(factors.num_weights(layer));
    weights += count;
    cells += count * (1 - share + share * growth);
  }
  return cells / weights;
}

// Statistics of a point over its trials. They are computed on the mean NLL and exponentiated last.
void add_statistics(NoisePoint& point) {
  std::vector<double> finite;
  std::copy_if(point.trials.begin(), point.trials.end(), std::back_inserter(finite),
               [](double value) { return std::isfinite(value); });
  point.num_trials = point.trials.size();
  point.num_diverged = point.trials.size() - finite.size();
  if (finite.empty()) return;
  const auto summary = summarize_trials(finite);
  point.mean = std::exp(summary.mean);
  point.mean_nll = summary.mean;
  point.standard_error = summary.standard_error;
  point.ci95_low = std::exp(summary.ci95_low);
  point.ci95_high = std::exp(summary.ci95_high);
}

NoiseFigures noise_figures(const NoiseConfig& config) {
  return {.model = config.model,
          .sigma = config.sigma,
          .encoding = config.encoding,
          .weight_bits = config.weight_bits,
          .cell_bits = config.cell_bits};
}

}  // namespace

void noisy_infer_stage(const NoisyInferConfig& config, RunDir* out, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  const auto device = apply_runtime(runtime);
  const auto loaded = load_causal_model(config.checkpoint, device, runtime.type);
  LanguageModel& model = *loaded.model;
  const auto tokenizer = tokenizers::open_tokenizer(loaded.folder);
  check_vocabulary(*tokenizer, model, loaded.folder);
  const auto text =
      open_perplexity_text(config.perplexity.data, perplexity_options(config.perplexity),
                           *tokenizer, model.max_context());
  const auto orders = read_orders(config, loaded);
  const NoiseOptions noise = noise_options(config.noise);
  const auto points = points_to_score(config);
  TrialTable table(config, *out);

  const auto start = std::chrono::steady_clock::now();
  const auto score = [&](bool require_finite) {
    return score_text(model, text, config.perplexity.batch_size, /*show_progress=*/false,
                      require_finite)
        .mean_nll();
  };
  const double clean_nll = score(true);
  NoisyFactors factors(model.slots(), noise);
  const double quantised_nll = score(true);

  const RandomKey key(static_cast<std::uint64_t>(config.common.seed));
  ProgressBar bar("noise", static_cast<std::int64_t>(points.size()) * config.trials, "trial");
  for (std::int64_t trial = 0; trial < config.trials; ++trial) {
    const auto trial_key = key.derive("noise").derive(static_cast<std::uint64_t>(trial));
    bool drawn = false;
    for (const auto& point : points) {
      if (table.has(point, trial)) continue;
      if (interrupt_requested()) {
        throw Interrupted(
            fmt::format("{} of {} trials are kept in {}; go on with --resume", table.size(),
                        points.size() * static_cast<std::size_t>(config.trials), out->path()));
      }
      if (!drawn) factors.draw(trial_key);  // one draw per trial, so that curves share their noise
      drawn = true;
      factors.protect(masks(factors, orders, point, trial_key));
      table.add(point, trial, score(false));
      bar.update(table.size(), fmt::format("{} at {:g}", point.importance, point.slc_frac));
    }
  }

  std::int64_t num_ranks = 0, num_weights = 0;
  for (std::size_t layer = 0; layer < factors.num_layers(); ++layer) {
    num_ranks += factors.rank(layer);
    num_weights += factors.num_weights(layer);
  }
  NoisyInferMetrics figures{.task = config.task,
                            .clean_perplexity = std::exp(clean_nll),
                            .quantised_perplexity = std::exp(quantised_nll),
                            .noise = noise_figures(config.noise),
                            .num_layers = factors.num_layers(),
                            .num_ranks = num_ranks,
                            .num_weights = num_weights,
                            .cells_per_weight = factors.coding().cells_per_weight(),
                            .signal_to_noise_db = factors.signal_to_noise_db(),
                            .context = config.perplexity.context,
                            .num_chunks = text.windows.size()};
  lowbank::print("perplexity {:.3f} with float factors, {:.3f} with {}-bit codes without noise",
                 std::exp(clean_nll), std::exp(quantised_nll), config.noise.weight_bits);
  lowbank::print("{} noise, sigma {:g}, {}: {} cells a weight, signal to noise {:.1f} dB",
                 config.noise.model, config.noise.sigma, config.noise.encoding,
                 factors.coding().cells_per_weight(), factors.signal_to_noise_db());
  for (const auto& importance : config.importance) {
    NoiseCurve curve{.importance = importance};
    for (const double slc_frac : config.slc_frac) {
      const bool shared = slc_frac == 0 || slc_frac == 1;
      const Point point{shared ? kAnySelection : importance, slc_frac};
      NoisePoint& row = curve.points.emplace_back();
      row.slc_frac = slc_frac;
      row.num_protected_ranks = protected_ranks(factors, slc_frac);
      row.cells_frac = cells_frac(factors, noise, slc_frac);
      for (std::int64_t trial = 0; trial < config.trials; ++trial) {
        row.trials.push_back(table.at(point, trial));
      }
      add_statistics(row);
      if (std::isnan(row.mean)) {
        lowbank::print("{:<12} SLC {:>5.1f} %   every trial diverged", importance, 100 * slc_frac);
      } else {
        lowbank::print(
            "{:<12} SLC {:>5.1f} %   perplexity {:>10.3f}   95 % interval {:.3f} to {:.3f}",
            importance, 100 * slc_frac, row.mean, row.ci95_low, row.ci95_high);
      }
    }
    figures.curves.push_back(std::move(curve));
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  figures.seconds = seconds.count();
  metrics = to_json(figures.fields());
}

}  // namespace lowbank
