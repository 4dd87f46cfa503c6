#include "models/make_workload.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "pim/workload.h"

namespace lowbank {
namespace {

// The name of a checkpoint that does not say what it came from.
std::string name_of(const LoadedModel& loaded) {
  if (!loaded.meta.base_model.empty()) return loaded.meta.base_model;
  return std::filesystem::weakly_canonical(loaded.folder).filename().string();
}

}  // namespace

pim::Workload make_workload(const LoadedModel& loaded, const WorkloadOptions& options) {
  std::int64_t num_tokens = 0;
  if (__builtin_mul_overflow(options.batch, options.context, &num_tokens)) {
    throw ConfigError(fmt::format("batch x context: {} x {} does not fit in 63 bits", options.batch,
                                  options.context));
  }
  auto& model = *loaded.model;
  pim::Workload workload;
  workload.model = name_of(loaded);
  workload.batch = options.batch;
  workload.context = options.context;
  workload.num_params = count_parameters(model);
  workload.weight_bits = 8.0 * static_cast<double>(model.parameters().front().element_size());
  if (options.phases != WorkloadPhases::kDecode) {
    workload.prefill = model.operators(pim::Phase::kPrefill, options.batch, options.context);
  }
  if (options.phases == WorkloadPhases::kDecode && !model.is_causal()) {
    throw ConfigError("phase: an encoder has no decode phase; allowed is prefill");
  }
  if (options.phases != WorkloadPhases::kPrefill) {
    workload.decode = model.operators(pim::Phase::kDecode, options.batch, options.context);
  }
  for (const auto phase : {pim::Phase::kPrefill, pim::Phase::kDecode}) {
    for (const auto& op : workload.operators(phase)) {
      workload.num_layers = std::max(workload.num_layers, op.layer + 1);
    }
  }
  // Holds what we write to the reader's own limits.
  return pim::workload_from_json(
      pim::workload_to_json(workload),
      fmt::format("context {}, batch {}", options.context, options.batch));
}

}  // namespace lowbank
