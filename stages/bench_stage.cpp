#include "stages/bench_stage.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>

#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "bench/bench_case.h"
#include "bench/calibration.h"
#include "bench/text_cases.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/philox.h"
#include "core/progress.h"
#include "core/stats.h"
#include "core/suggest.h"
#include "kernels/normal_fill.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"
#include "pim/workload.h"
#include "stages/runtime_options.h"
#include "train/adamw.h"
#include "train/objective.h"
#include "train/text_examples.h"

namespace lowbank {
namespace {

using Case = BenchCase;
using Work = BenchWork;

double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr std::int64_t kGemmSize = 1024;
constexpr std::int64_t kReadBytes = std::int64_t{1} << 30;

Case gemm_roof() {
  const auto a = at::randn({kGemmSize, kGemmSize});
  const auto b = at::randn({kGemmSize, kGemmSize});
  return {.name = "roof_gemm",
          .unit = "GFLOP/s",
          .amount = 2.0 * kGemmSize * kGemmSize * kGemmSize,
          .scale = 1e-9,
          .work = [a, b] { at::matmul(a, b); }};
}

Case read_roof() {
  const auto data = at::ones({kReadBytes / 4});
  return {.name = "roof_read",
          .unit = "GB/s",
          .amount = static_cast<double>(kReadBytes),
          .scale = 1e-9,
          .work = [data] { data.sum(); }};
}

// A factored layer at half the break-even rank, compared with the dense layer that it replaces and
// with building the dense weight in every call (as the reference implementation does).
Case svd_linear_case() {
  constexpr std::int64_t kTokens = 512;
  constexpr std::int64_t kFeatures = 1024;
  constexpr std::int64_t kRank = 256;
  const auto svd = std::make_shared<SvdLinear>(at::randn({kFeatures, kRank}), at::ones({kRank}),
                                               at::randn({kRank, kFeatures}), torch::Tensor());
  const auto dense = std::make_shared<DenseLinear>(svd->dense_weight(), torch::Tensor());
  const auto x_TI = at::randn({kTokens, kFeatures});
  return {
      .name = "svd_linear_512x1024_r256",
      .unit = "Mtok/s",
      .amount = kTokens,
      .scale = 1e-6,
      .work = [svd, x_TI] { svd->forward(x_TI, Pass{}); },
      .roof = "roof_gemm",
      .roof_amount = 4.0 * kTokens * kFeatures * kRank,
      .alternatives = {{"dense", [dense, x_TI] { dense->forward(x_TI, Pass{}); }},
                       {"rebuilt", [svd, x_TI] { at::matmul(x_TI, svd->dense_weight().t()); }}}};
}

Case normal_fill_case() {
  constexpr std::int64_t kCount = std::int64_t{1} << 22;
  auto out = at::empty({kCount});
  auto other = at::empty({kCount});
  return {.name = "normal_fill_4m",
          .unit = "Mnormals/s",
          .amount = static_cast<double>(kCount),
          .scale = 1e-6,
          .work = [out]() mutable { normal_fill_(out, RandomKey(0).derive("bench")); },
          .alternatives = {{"at::normal_", [other]() mutable { other.normal_(); }}}};
}

using ModelPtr = std::shared_ptr<LanguageModel>;

// Bytes of the weights of the matrix products, and of the KV cache of `context` tokens.
double decode_bytes(LanguageModel& model, std::int64_t context) {
  double bytes = 0;
  for (const auto& op : model.operators(pim::Phase::kDecode, 1, context)) {
    const auto count = static_cast<double>(op.count);
    if (op.kind == pim::OperatorKind::kLinear) bytes += op.weight_bytes * count;
    if (op.kind == pim::OperatorKind::kScore || op.kind == pim::OperatorKind::kAttend) {
      bytes += op.activation_bytes * count;
    }
  }
  return bytes;
}

torch::Tensor random_ids(LanguageModel& model, std::int64_t batch, std::int64_t tokens) {
  return at::randint(0, model.vocab_size(), {batch, tokens}, at::kLong);
}

Case forward_case(const std::string& name, const ModelPtr& model, std::int64_t batch,
                  std::int64_t tokens) {
  const auto ids_BT = random_ids(*model, batch, tokens);
  const bool counts_tokens = model->head_kind() == HeadKind::kNextToken;
  const auto step = std::make_shared<std::uint64_t>(0);
  return {.name = name,
          .unit = counts_tokens ? "tok/s" : "seq/s",
          .amount = static_cast<double>(counts_tokens ? batch * tokens : batch),
          .work = [model, ids_BT] { model->forward(ids_BT); },
          .roof = "roof_gemm",
          .roof_amount = linear_flops(*model, batch, tokens)};
}

// A prompt of 32 tokens and 64 new tokens; the time includes the prompt.
Case decode_case(const std::string& name, const ModelPtr& model) {
  constexpr std::int64_t kPrompt = 32;
  constexpr std::int64_t kNew = 64;
  const auto ids_BT = random_ids(*model, 1, kPrompt);
  return {.name = name,
          .unit = "tok/s",
          .amount = kNew,
          .work =
              [model, ids_BT] {
                const auto state = model->make_state(1, kPrompt + kNew);
                auto ids = ids_BT;
                for (std::int64_t i = 0; i < kNew; ++i) {
                  const auto hidden = model->hidden_states(ids, state.get());
                  ids = model->head(hidden.narrow(1, hidden.size(1) - 1, 1)).argmax(-1);
                }
              },
          .roof = "roof_read",
          .roof_amount = kNew * decode_bytes(*model, kPrompt + kNew / 2)};
}

// A batch as the trainer reads it, with next tokens as targets, or class 0 for every sequence.
Batch training_batch(LanguageModel& model, const torch::Tensor& ids_BT) {
  if (model.is_causal()) return next_token_batch(ids_BT);
  return {.input = ModelInput(ids_BT),
          .targets = at::zeros({ids_BT.size(0)}, at::kLong),
          .weight = static_cast<double>(ids_BT.size(0))};
}

// Loss, gradients of every parameter and one AdamW update; with the model's dropout.
Case train_case(const std::string& name, const ModelPtr& model, std::int64_t batch,
                std::int64_t tokens) {
  const auto ids_BT = random_ids(*model, batch, tokens);
  std::shared_ptr<Objective> objective;
  if (model->is_causal()) {
    objective = std::make_shared<TokenObjective>();
  } else {
    objective = std::make_shared<SequenceObjective>();
  }
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(true);
  const auto optimizer = std::make_shared<AdamW>(trainable_parameters(*model), AdamWOptions{});
  const bool counts_tokens = model->head_kind() == HeadKind::kNextToken;
  const auto step = std::make_shared<std::uint64_t>(0);
  return {.name = name,
          .unit = counts_tokens ? "tok/s" : "seq/s",
          .amount = static_cast<double>(counts_tokens ? batch * tokens : batch),
          .work =
              [model, ids_BT, objective, optimizer, step] {
                const c10::InferenceMode normal_tensors(false);
                optimizer->zero_grad();
                auto inputs = training_batch(*model, ids_BT);
                inputs.input.dropout_key = RandomKey(0).derive((*step)++);
                const auto loss = objective->loss_sum(*model, inputs) / inputs.weight;
                loss.backward();
                optimizer->step(1e-5);
              },
          .roof = "roof_gemm",
          .roof_amount = 3 * linear_flops(*model, batch, tokens)};
}

/// A case on a model of a published shape with random weights.
struct ShapeCase {
  const char* name;
  const char* shape;
  std::int64_t batch, tokens;
  bool trains;
};

constexpr ShapeCase kShapeCases[] = {{"llama_smollm2_forward_1x512", "smollm2-135m", 1, 512, false},
                                     {"llama_smollm2_forward_4x512", "smollm2-135m", 4, 512, false},
                                     {"llama_smollm2_decode_b1", "smollm2-135m", 1, 0, false},
                                     {"llama_smollm2_train_2x256", "smollm2-135m", 2, 256, true},
                                     {"bert_minilm_forward_32x128", "minilm-l6", 32, 128, false},
                                     {"bert_minilm_train_16x128", "minilm-l6", 16, 128, true},
                                     {"mamba130m_forward_1x512", "mamba-130m", 1, 512, false},
                                     {"mamba130m_decode_b1", "mamba-130m", 1, 0, false},
                                     {"mamba130m_train_1x256", "mamba-130m", 1, 256, true}};

Case shape_case(const ShapeCase& item, c10::ScalarType type,
                std::map<std::string, ModelPtr>& models) {
  // A case that trains gets a model of its own, because it changes the weights.
  const std::string key = item.trains ? item.name : item.shape;
  auto& model = models[key];
  const c10::InferenceMode normal_tensors(false);
  if (model == nullptr) {
    model = make_random_model(shape_config(item.shape), RandomKey(0).derive("bench"));
    model->to(type);
    model->eval();
  }
  if (item.trains) return train_case(item.name, model, item.batch, item.tokens);
  return item.tokens == 0 ? decode_case(item.name, model)
                          : forward_case(item.name, model, item.batch, item.tokens);
}

const std::vector<std::string> kQuickCases = {
    "roof_gemm",      "roof_read",           "svd_linear_512x1024_r256",
    "normal_fill_4m", "model_forward_1x128", "model_decode_b1"};

std::vector<std::string> all_case_names() {
  std::vector<std::string> names = kQuickCases;
  for (const auto& item : kShapeCases) names.emplace_back(item.name);
  for (const auto& name : text_case_names()) names.push_back(name);
  return names;
}

bool needs_model(const std::string& name) { return name.starts_with("model_"); }

Case make_case(const std::string& name, const BenchConfig& config, const ModelPtr& model,
               std::map<std::string, ModelPtr>& shape_models) {
  if (is_text_case(name)) return make_text_case(name, config.model);
  for (const auto& item : kShapeCases) {
    if (name == item.name) {
      return shape_case(item, runtime_options(config.common).type, shape_models);
    }
  }
  if (name == "svd_linear_512x1024_r256") return svd_linear_case();
  if (name == "normal_fill_4m") return normal_fill_case();
  if (name == "model_forward_1x128") return forward_case(name, model, 1, 128);
  return decode_case(name, model);
}

}  // namespace

void bench_stage(const BenchConfig& config, RunDir*, Metrics& metrics) {
  const RuntimeOptions runtime = runtime_options(config.common);
  apply_runtime(runtime);
  if (!config.calibrate.empty()) {
    return calibrate({.output = config.calibrate,
                      .model = config.model,
                      .runs = config.runs,
                      .type = runtime.type},
                     full_grid(), metrics);
  }
  std::vector<std::string> names = config.cases;
  const auto known_names = all_case_names();
  for (const auto& name : names) {
    if (std::find(known_names.begin(), known_names.end(), name) == known_names.end()) {
      throw ConfigError(fmt::format("case: unknown '{}', one of {}{}", name,
                                    fmt::join(known_names, ", "), did_you_mean(name, known_names)));
    }
    if (needs_model(name) && config.model.empty()) {
      throw ConfigError(fmt::format("case {}: needs --model CKPT", name));
    }
  }
  if (names.empty()) {
    for (const auto& name : kQuickCases) {
      if (!needs_model(name) || !config.model.empty()) names.push_back(name);
    }
  }
  std::shared_ptr<LanguageModel> model;
  if (std::any_of(names.begin(), names.end(), needs_model)) {
    model = load_causal_model(config.model, at::kCPU, runtime.type).model;
  }

  const c10::InferenceMode guard;
  std::map<std::string, ModelPtr> shape_models;
  std::vector<Case> cases = {gemm_roof(), read_roof()};
  for (const auto& name : names) {
    if (!name.starts_with("roof_")) cases.push_back(make_case(name, config, model, shape_models));
  }
  // One round times every case once, so that a slow minute of the machine hits all of them.
  std::vector<std::vector<std::vector<double>>> seconds(cases.size());
  ProgressBar bar("bench", config.runs + 1, "round");
  for (std::int64_t round = 0; round <= config.runs; ++round) {
    for (std::size_t c = 0; c < cases.size(); ++c) {
      stop_if_interrupted();
      seconds[c].resize(1 + cases[c].alternatives.size());
      for (std::size_t a = 0; a < seconds[c].size(); ++a) {
        const double s = seconds_of(a == 0 ? cases[c].work : cases[c].alternatives[a - 1].second);
        if (round > 0) seconds[c][a].push_back(s);  // the first round warms up
      }
    }
    bar.update(round + 1);
  }

  const double gemm_flops_per_s =
      cases[0].amount / *std::min_element(seconds[0][0].begin(), seconds[0][0].end());
  const double read_bytes_per_s =
      cases[1].amount / *std::min_element(seconds[1][0].begin(), seconds[1][0].end());
  metrics["device"] = cpu_name();
  metrics["roof_gemm_gflops"] = gemm_flops_per_s * 1e-9;
  metrics["roof_read_gbs"] = read_bytes_per_s * 1e-9;
  metrics["results"] = Metrics::array();
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const Case& item = cases[c];
    if (std::find(names.begin(), names.end(), item.name) == names.end()) continue;
    const auto& own = seconds[c][0];
    const double middle = median(own);
    const auto [fastest, slowest] = std::minmax_element(own.begin(), own.end());
    Metrics row = {{"case", item.name},
                   {"median", item.amount / middle * item.scale},
                   {"spread", (*slowest - *fastest) / middle},
                   {"unit", item.unit},
                   {"runs", config.runs}};
    std::string line =
        fmt::format("{:<28} {:>12.4g} {:<11} spread {:4.0f} %", item.name,
                    row["median"].get<double>(), item.unit, 100 * row["spread"].get<double>());
    if (!item.roof.empty()) {
      const double roof = item.roof == "roof_gemm" ? gemm_flops_per_s : read_bytes_per_s;
      row["ratio_to_roof"] = item.roof_amount / middle / roof;
      row["roof"] = item.roof;
      line += fmt::format("   {:.2f} of {}", row["ratio_to_roof"].get<double>(), item.roof);
    }
    for (std::size_t a = 0; a < item.alternatives.size(); ++a) {
      const double ratio = median(seconds[c][a + 1]) / middle;
      row["speedup_over"][item.alternatives[a].first] = ratio;
      line += fmt::format("   {:.2f} x {}", ratio, item.alternatives[a].first);
    }
    metrics["results"].push_back(row);
    print_line(line);
  }
  lowbank::print("roofs of this run: {:.1f} GFLOP/s fp32 matrix product, {:.1f} GB/s read",
                 gemm_flops_per_s * 1e-9, read_bytes_per_s * 1e-9);
}

}  // namespace lowbank
