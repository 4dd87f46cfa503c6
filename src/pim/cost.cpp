#include "pim/cost.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/suggest.h"

namespace lowbank::pim {
namespace {

constexpr std::pair<const char*, bool Corrections::*> kCorrections[] = {
    {"timings_in_ns", &Corrections::timings_in_ns},
    {"refresh", &Corrections::refresh},
    {"last_round", &Corrections::last_round},
    {"single_results", &Corrections::single_results},
    {"built_hardware", &Corrections::built_hardware},
    {"every_context", &Corrections::every_context},
    {"fitted_gpu", &Corrections::fitted_gpu},
    {"gpu_energy", &Corrections::gpu_energy},
    {"fused_kernels", &Corrections::fused_kernels},
    {"fitted_links", &Corrections::fitted_links},
    {"static_power", &Corrections::static_power}};

}  // namespace

Corrections::Corrections(EstimateMode mode) {
  for (const auto& [name, member] : kCorrections) {
    this->*member = mode == EstimateMode::kPhysical;
  }
}

std::vector<std::string> correction_names() {
  std::vector<std::string> names;
  for (const auto& [name, member] : kCorrections) names.emplace_back(name);
  return names;
}

void enable_correction(Corrections& corrections, const std::string& name) {
  for (const auto& [known, member] : kCorrections) {
    if (name == known) {
      corrections.*member = true;
      return;
    }
  }
  throw ConfigError(fmt::format("correct: unknown correction '{}'{}", name,
                                did_you_mean(name, correction_names())));
}

Corrections make_corrections(EstimateMode mode, const std::vector<std::string>& added) {
  Corrections corrections(mode);
  for (const auto& name : added) enable_correction(corrections, name);
  return corrections;
}

const char* mode_name(EstimateMode mode) {
  return mode == EstimateMode::kReference ? "reference" : "physical";
}

const char* accounting_name(EnergyAccounting accounting) {
  return accounting == EnergyAccounting::kTotal ? "total" : "dynamic";
}

const char* time_category(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kLinear:
      return "gemm";
    case OperatorKind::kScore:
    case OperatorKind::kAttend:
    case OperatorKind::kAttention:
      return "attention";
    case OperatorKind::kConv:
      return "causal_conv1d";
    case OperatorKind::kScan:
    case OperatorKind::kStateUpdate:
      return "state_update";
    case OperatorKind::kAllReduce:
      return "transfer";
    case OperatorKind::kSoftmax:
    case OperatorKind::kNorm:
    case OperatorKind::kActivation:
    case OperatorKind::kEmbedding:
      return "others";
  }
  return "others";
}

}  // namespace lowbank::pim
