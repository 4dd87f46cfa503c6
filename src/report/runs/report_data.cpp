#include "report/runs/report_data.h"

#include <algorithm>
#include <cmath>

namespace lowbank::report {
namespace {

double sum_of(const NamedNumbers& categories) {
  double sum = 0;
  for (const auto& [name, value] : categories) sum += value;
  return sum;
}

}  // namespace

bool CostRow::has_size_of(const CostRow& other) const {
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  return same(batch, other.batch) && same(context, other.context);
}

const EstimateResult::Workload* EstimateRun::find_workload(const std::string& name) const {
  const auto found =
      std::find_if(workloads.begin(), workloads.end(),
                   [&](const EstimateResult::Workload& each) { return each.name == name; });
  return found == workloads.end() ? nullptr : &*found;
}

const CostRow* EstimateRun::dense_row(const CostRow& row) const {
  for (const CostRow& other : rows) {
    const EstimateResult::Workload* const workload = find_workload(other.workload);
    if (workload != nullptr && workload->is_dense() && other.system == row.system &&
        other.phase == row.phase) {
      return &other;
    }
  }
  return nullptr;
}

double ExperimentRow::total_time_s() const { return sum_of(time_s); }

double ExperimentRow::total_energy_pj() const {
  return sum_of(memory_energy_pj) + sum_of(compute_energy_pj);
}

double ExperimentRow::tokens_per_s() const {
  return batch_size * (output_tokens - 1) / total_time_s();
}

bool ExperimentRow::is_same_task(const ExperimentRow& other) const {
  return model == other.model && gpu == other.gpu && batch_size == other.batch_size &&
         num_gpus == other.num_gpus && input_tokens == other.input_tokens &&
         output_tokens == other.output_tokens;
}

}  // namespace lowbank::report
