#include "config/make_stage_config.h"

#include <functional>
#include <utility>

#include "config/stages/bench_config.h"
#include "config/stages/compress_config.h"
#include "config/stages/convert_config.h"
#include "config/stages/estimate_config.h"
#include "config/stages/evaluate_config.h"
#include "config/stages/finetune_config.h"
#include "config/stages/generate_config.h"
#include "config/stages/inspect_config.h"
#include "config/stages/logits_config.h"
#include "config/stages/noisy_infer_config.h"
#include "config/stages/redistribute_config.h"
#include "config/stages/report_config.h"
#include "config/stages/tokenize_config.h"
#include "config/stages/workload_config.h"

namespace lowbank {
namespace {

using Maker = std::function<std::unique_ptr<StageConfig>()>;

template <class Config>
Maker maker() {
  return [] { return std::make_unique<Config>(); };
}

const std::vector<std::pair<std::string, Maker>>& makers() {
  static const std::vector<std::pair<std::string, Maker>> all = {
      {"convert", maker<ConvertConfig>()},
      {"inspect", maker<InspectConfig>()},
      {"tokenize", maker<TokenizeConfig>()},
      {"logits", maker<LogitsConfig>()},
      {"generate", maker<GenerateConfig>()},
      {"evaluate", maker<EvaluateConfig>()},
      {"finetune", maker<FinetuneConfig>()},
      {"compress", maker<CompressConfig>()},
      {"redistribute", maker<RedistributeConfig>()},
      {"noisy-infer", maker<NoisyInferConfig>()},
      {"workload", maker<WorkloadConfig>()},
      {"estimate", maker<EstimateConfig>()},
      {"report", maker<ReportConfig>()},
      {"bench", maker<BenchConfig>()}};
  return all;
}

}  // namespace

std::unique_ptr<StageConfig> make_stage_config(const std::string& stage) {
  for (const auto& [name, make] : makers()) {
    if (name == stage) return make();
  }
  return nullptr;
}

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers()) names.push_back(name);
  return names;
}

}  // namespace lowbank
