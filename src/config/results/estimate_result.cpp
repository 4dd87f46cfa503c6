#include "config/results/estimate_result.h"

namespace lowbank {

ResultFields EstimateResult::Workload::fields() {
  return {ResultField("name", &name).required(),
          {"file", &file},
          {"model", &model},
          {"batch", &batch},
          {"context", &context},
          {"num_params", &num_params},
          {"num_layers", &num_layers},
          {"num_linears", &num_linears},
          {"num_factored_linears", &num_factored_linears},
          {"factored_size_frac", &factored_size_frac}};
}

ResultFields EstimateResult::Constant::fields() {
  return {ResultField("key", &key).required(),
          {"value", &value},
          {"unit", &unit},
          {"source", &source},
          ResultField("uncertain", &uncertain).left_out()};
}

ResultFields EstimateResult::System::fields() {
  return {ResultField("name", &name).required(),
          {"kind", &kind},
          {"about", &about},
          {"file", &file},
          {"notes", &notes},
          {"constants", &constants}};
}

ResultFields EstimateResult::Row::fields() {
  return {ResultField("workload", &workload).required(),
          ResultField("system", &system).required(),
          ResultField("phase", &phase).required(),
          {"provenance", &origin},
          {"mode", &mode},
          {"batch", &batch},
          {"context", &context},
          {"output_tokens", &output_tokens},
          ResultField("tokens", &tokens).required().positive(),
          {"latency_s", &latency_s},
          {"latency_ns", &latency_ns},
          {"tokens_per_s", &tokens_per_s},
          {"time_to_first_token_s", &time_to_first_token_s},
          {"time_per_output_token_s", &time_per_output_token_s},
          {"time_of_last_token_s", &time_of_last_token_s},
          {"pipeline_period_ns", &pipeline_period_ns},
          {"energy_pj", &energy_pj},
          {"energy_per_token_pj", &energy_per_token_pj},
          {"energy_by_component_pj", &energy_by_component_pj},
          {"time_by_category_ns", &time_by_category_ns},
          {"num_macs", &num_macs},
          {"weight_bytes", &weight_bytes},
          {"gpu_time_error_median_frac", &gpu_time_error_median_frac},
          {"gpu_time_error_p90_frac", &gpu_time_error_p90_frac},
          {"area_mm2", &area_mm2},
          {"num_chips", &num_chips},
          {"memory_bytes", &memory_bytes},
          {"memory_capacity_bytes", &memory_capacity_bytes},
          {"speedup_vs_first_workload", &speedup_vs_first_workload},
          {"energy_gain_vs_first_workload", &energy_gain_vs_first_workload},
          {"speedup_vs_first_system", &speedup_vs_first_system},
          {"energy_gain_vs_first_system", &energy_gain_vs_first_system},
          {"notes", &notes}};
}

ResultFields EstimateResult::Crossover::Change::fields() {
  return {{"at", &at}, {"better", &better}};
}

ResultFields EstimateResult::Crossover::fields() {
  return {ResultField("workload", &workload).required(),
          ResultField("phase", &phase).required(),
          {"batch", &batch},
          {"context", &context},
          {"provenance", &origin},
          ResultField("operator", &op).left_out(),
          ResultField("num_equal", &num_equal).left_out(),
          ResultField("in", &in_features).left_out(),
          ResultField("out", &out_features).left_out(),
          ResultField("system", &system).required(),
          ResultField("versus", &versus).required(),
          ResultField("axis", &axis).required(),
          ResultField("from", &from).required(),
          ResultField("to", &to).required(),
          ResultField("metric", &metric).required(),
          {"better_at_start", &better_at_start},
          {"changes", &changes},
          ResultField("better", &better).required()};
}

ResultFields EstimateResult::Sensitivity::Effect::fields() {
  return {ResultField("constant", &key).required(),
          {"preset", &preset},
          {"unit", &unit},
          {"value", &value},
          {"low_value", &low_value},
          {"high_value", &high_value},
          ResultField("time_at_low", &time_at_low).required(),
          ResultField("time_at_high", &time_at_high).required(),
          {"energy_at_low", &energy_at_low},
          {"energy_at_high", &energy_at_high}};
}

ResultFields EstimateResult::Sensitivity::fields() {
  return {ResultField("workload", &workload).required(),
          ResultField("phase", &phase).required(),
          {"batch", &batch},
          {"context", &context},
          {"provenance", &origin},
          ResultField("system", &system).required(),
          ResultField("part", &part).required(),
          {"constants", &effects},
          {"refused", &refused}};
}

ResultFields EstimateResult::fields() {
  return {{"revision", &revision},
          {"provenance", &origin},
          {"mode", &mode},
          {"slc_frac", &slc_frac},
          {"num_gpus", &num_gpus},
          {"workloads", &workloads},
          {"systems", &systems},
          {"rows", &rows},
          {"crossovers", &crossovers},
          {"break_even", &break_even},
          {"sensitivity", &sensitivity}};
}

}  // namespace lowbank
