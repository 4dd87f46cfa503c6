// The GPU's closed forms against whole experiments of the published simulator.
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "pim/gpu.h"
#include "pim/preset.h"
#include "pim_samples.h"

namespace lowbank {
namespace {

struct ModelShape {
  std::int64_t decoders, hidden, heads, head_dim, state_dim;
  std::int64_t attention_decoders = 0, attention_heads = 0, attention_head_dim = 0;
};

// Source: the reference's model table (opt: attention only; zamba2: both).
const std::map<std::string, ModelShape> kModels = {
    {"retnet-2.7b", {32, 2560, 10, 256, 512}},
    {"retnet-70b", {96, 7680, 10, 768, 1536}},
    {"gla-2.7b", {32, 2560, 5, 256, 512}},
    {"gla-70b", {96, 7680, 5, 768, 1536}},
    {"hgrn2-2.7b", {32, 2560, 20, 128, 128}},
    {"hgrn2-70b", {96, 7680, 20, 384, 384}},
    {"mamba2-2.7b", {64, 2560, 80, 128, 64}},
    {"mamba2-70b", {192, 7680, 80, 384, 192}},
    {"opt-7b", {0, 4096, 0, 0, 0, 32, 32, 128}},
    {"opt-70b", {0, 8192, 0, 0, 0, 80, 64, 128}},
    {"zamba2-7b", {81, 3584, 112, 64, 64, 13, 32, 224}},
    {"zamba2-70b", {174, 7168, 112, 128, 128, 28, 64, 224}}};

struct Totals {
  double time_s = 0, memory_pj = 0, compute_pj = 0;
};

// The operator list of one generated token, walked as the reference walks it.
class Experiment {
 public:
  explicit Experiment(const nlohmann::json& row)
      : row_(row),
        gpu_(load_preset(row["gpu"] == "A100" ? "gpu-a100" : "gpu-h100"), EstimateMode::kReference),
        shape_(kModels.at(row["model"])),
        batch_(row["batch_size"]),
        tp_(row["num_gpus"]),
        hidden_(shape_.hidden),
        h_(hidden_ / tp_) {}

  std::map<std::string, Totals> run() {
    const std::string model = row_["model"];
    const std::int64_t steps = row_["output_tokens"].get<std::int64_t>() - 1;
    weight_ = static_cast<double>(shape_.decoders * steps);
    if (model.starts_with("mamba2")) {
      mamba();
    } else if (model.starts_with("zamba2")) {
      norm(hidden_);
      mamba();
    } else if (model.starts_with("gla")) {
      norm(hidden_), fc(2 * h_, hidden_), fc(16, hidden_), fc(h_ / 2, 16), state_update();
      fc(2 * hidden_, h_), norm(hidden_), fc(8 * h_, hidden_), act("others", part(2.6, h_));
    } else if (model.starts_with("hgrn2")) {
      norm(hidden_), fc(3 * h_, hidden_), state_update(), fc(hidden_, h_), norm(hidden_);
      fc(8 * h_, hidden_), act("others", part(2.6, h_));
    } else if (model.starts_with("retnet")) {
      norm(hidden_), fc(4 * h_, hidden_), state_update(), fc(2 * hidden_, h_);
      fc(hidden_, 2 * hidden_ / tp_), norm(hidden_), fc(part(4.2, h_), hidden_);
      act("others", part(1.4, h_));
    }
    for (std::int64_t step = 1; shape_.attention_decoders > 0 && step <= steps; ++step) {
      weight_ = static_cast<double>(shape_.attention_decoders);
      const std::int64_t context = row_["input_tokens"].get<std::int64_t>() + step;
      if (model.starts_with("opt")) {
        fc(3 * h_, hidden_), attention(context), fc(hidden_, h_), norm(hidden_);
        fc(4 * h_, hidden_), act("others", 4 * h_), fc(hidden_, 4 * h_), norm(hidden_);
      } else {
        norm(2 * hidden_), fc(6 * h_, 2 * hidden_), attention(context);
        fc(hidden_, 2 * hidden_ / tp_), norm(hidden_), fc(8 * h_, hidden_);
        act("others", 4 * h_), fc(hidden_, 4 * h_);
      }
    }
    return totals_;
  }

 private:
  static std::int64_t part(double factor, std::int64_t size) {
    return static_cast<std::int64_t>(factor * static_cast<double>(size));
  }
  std::int64_t state_bytes() const { return row_["system"] == "GPU+Q" ? 1 : 2; }
  void add(const std::string& category, const OperatorCost& cost) {
    Totals& sum = totals_[category];
    const double dram = cost.energy_pj.part("dram");
    sum.time_s += cost.latency_ns * 1e-9 * weight_;
    sum.memory_pj += dram * weight_ * static_cast<double>(tp_);
    sum.compute_pj += (cost.energy_pj.total() - dram) * weight_ * static_cast<double>(tp_);
  }
  void fc(std::int64_t n, std::int64_t k) { add("gemm", gpu_.linear(batch_, n, k, 1)); }
  void matmul(const std::string& category, std::int64_t m, std::int64_t n, std::int64_t k,
              std::int64_t count) {
    add(category,
        gpu_.batched({.m = m, .n = n, .k = k, .count = count, .element_bytes = state_bytes()}));
  }
  void norm(std::int64_t n) { add("others", gpu_.elementwise(OperatorKind::kNorm, batch_, n, 1)); }
  void act(const std::string& category, std::int64_t n) {
    add(category, gpu_.elementwise(OperatorKind::kActivation, batch_, n, 1));
  }
  void state_update() {
    const std::int64_t count = (shape_.heads + tp_ - 1) / tp_ * batch_;
    matmul("state_update", shape_.head_dim, shape_.state_dim, 1, count);
    matmul("state_update", 1, shape_.state_dim, shape_.head_dim, count);
  }
  void attention(std::int64_t context) {
    const std::int64_t count = shape_.attention_heads / tp_ * batch_;
    matmul("gemv", 1, context, shape_.attention_head_dim, count);
    add("others", gpu_.elementwise(OperatorKind::kSoftmax, 1, context, count));
    matmul("gemv", 1, shape_.attention_head_dim, context, count);
  }
  void mamba() {
    fc(part(4.1, h_), hidden_), act("causal_conv1d", part(8.4, hidden_));
    act("discretization", shape_.heads), state_update(), norm(2 * hidden_);
    act("others", 2 * h_), fc(hidden_, 2 * hidden_ / tp_);
  }

  const nlohmann::json& row_;
  GpuModel gpu_;
  ModelShape shape_;
  std::int64_t batch_, tp_, hidden_, h_;
  double weight_ = 0;
  std::map<std::string, Totals> totals_;
};

TEST(ReferenceGpuTest, EveryGpuPartOfTheRecordedExperimentsIsReproduced) {
  const std::string folder = testing::pim_reference_folder();
  if (folder.empty()) GTEST_SKIP() << "no reference figures: set LOWBANK_SHARED_DATA";
  std::ifstream file(folder + "/experiments.jsonl");
  int num_compared = 0;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line);
    if (row["gpu"] == "B200") continue;  // no preset of it yet
    const std::string system = row["system"];
    const auto totals = Experiment(row).run();
    for (const auto& [category, time_s] : row["time_s"].items()) {
      const bool is_on_gpu = system == "GPU" || system == "GPU+Q";
      if (category == "comm") continue;  // tensor parallelism is not part of the estimator yet
      if (!is_on_gpu && (category == "state_update" || category == "gemv")) continue;
      const std::string where = fmt::format("{} b{} {} {} {}", row["model"].get<std::string>(),
                                            row["batch_size"].get<int>(), system,
                                            row["gpu"].get<std::string>(), category);
      const Totals& ours = totals.at(category);
      const auto expect = [&](double value, double wanted, const char* what) {
        EXPECT_NEAR(value / wanted, 1.0, 1e-9) << where << " " << what;
      };
      expect(ours.time_s, time_s.get<double>(), "time");
      expect(ours.memory_pj, row["memory_energy_pj"][category].get<double>(), "memory energy");
      expect(ours.compute_pj, row["compute_energy_pj"][category].get<double>(), "compute energy");
      ++num_compared;
    }
  }
  EXPECT_EQ(num_compared, 230);
}

}  // namespace
}  // namespace lowbank
