#include "stages/workload_stage.h"

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "config/choose.h"
#include "core/atomic_file.h"
#include "core/log.h"
#include "core/text.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "models/make_workload.h"
#include "pim/workload.h"
#include "stages/runtime_options.h"

namespace lowbank {
namespace {

Metrics phase_metrics(const pim::Workload& workload, pim::Phase phase) {
  std::int64_t total_macs = 0;
  double weight_bytes = 0, activation_bytes = 0;
  for (const auto& op : workload.operators(phase)) {
    total_macs += op.macs();
    weight_bytes += op.weight_bytes * static_cast<double>(op.count);
    activation_bytes += op.activation_bytes * static_cast<double>(op.count);
  }
  lowbank::print("{:8} {:5} operators  {:>20} MACs  {:>12} weights  {:>12} activations",
                 pim::phase_name(phase), workload.operators(phase).size(), group_digits(total_macs),
                 format_bytes(static_cast<std::uint64_t>(weight_bytes)),
                 format_bytes(static_cast<std::uint64_t>(activation_bytes)));
  return {{"num_operators", workload.operators(phase).size()},
          {"total_macs", total_macs},
          {"weight_bytes", weight_bytes},
          {"activation_bytes", activation_bytes}};
}

}  // namespace

void workload_stage(const WorkloadConfig& config, RunDir* out, Metrics& metrics) {
  const auto device = apply_runtime(runtime_options(config.common));
  const auto loaded = load_model(config.checkpoint, device, stored_type(config.checkpoint));
  const pim::Workload workload = make_workload(
      loaded,
      {.batch = config.batch,
       .context = config.context,
       .phases = choose<WorkloadPhases>(config.phase, {{"prefill", WorkloadPhases::kPrefill},
                                                       {"decode", WorkloadPhases::kDecode},
                                                       {"both", WorkloadPhases::kBoth}})});
  const std::int64_t max_context = loaded.model->max_context();
  if (max_context > 0 && config.context > max_context) {
    warn(
        "context {} is longer than the model's {}: the figures are of a model it is not trained to "
        "be",
        config.context, max_context);
  }
  if (out != nullptr) out->begin();
  const std::string path = out != nullptr ? out->path("workload.json") : config.common.out;
  write_file(path, pim::workload_to_json(workload));

  metrics = {{"model", workload.model},           {"batch", workload.batch},
             {"context", workload.context},       {"num_params", workload.num_params},
             {"num_layers", workload.num_layers}, {"weight_bits", workload.weight_bits}};
  for (const auto phase : {pim::Phase::kPrefill, pim::Phase::kDecode}) {
    if (!workload.operators(phase).empty()) {
      metrics[pim::phase_name(phase)] = phase_metrics(workload, phase);
    }
  }
  lowbank::print("{}", path);
}

}  // namespace lowbank
