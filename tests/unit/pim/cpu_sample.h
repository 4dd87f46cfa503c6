#pragma once

#include <nlohmann/json.hpp>

namespace lowbank::pim::testing {

struct CpuConstant {
  const char* key;
  const char* unit;
  double value;
};

/// A machine with round figures: 1 us per call, 10 GB/s from memory, 100 GB/s from a cache of 1 MB,
/// 50 GMAC/s.
inline constexpr CpuConstant kCpuConstants[] = {{"cache_bytes", "B", 1e6},
                                                {"element_bytes", "B", 4},
                                                {"memory_ns_per_byte", "ns/B", 0.1},
                                                {"cache_ns_per_byte", "ns/B", 0.01},
                                                {"few_rows_call_ns", "ns", 1000},
                                                {"few_rows_ns_per_mac", "ns/MAC", 0.005},
                                                {"linear_call_ns", "ns", 2000},
                                                {"linear_ns_per_mac", "ns/MAC", 0.02},
                                                {"linear_ns_per_weight_byte", "ns/B", 0.2},
                                                {"linear_ns_per_row_byte", "ns/B", 0.03},
                                                {"attention_ns_per_mac", "ns/MAC", 0.04},
                                                {"attention_ns_per_score", "ns/score", 0.5},
                                                {"attention_ns_per_query", "ns/query", 30},
                                                {"decode_attention_call_ns", "ns", 1500},
                                                {"decode_attention_ns_per_mac", "ns/MAC", 0.06},
                                                {"norm_call_ns", "ns", 500},
                                                {"norm_ns_per_byte", "ns/B", 0.05},
                                                {"activation_call_ns", "ns", 600},
                                                {"activation_ns_per_value", "ns/value", 0.07},
                                                {"conv_call_ns", "ns", 700},
                                                {"conv_ns_per_mac", "ns/MAC", 0.08},
                                                {"scan_call_ns", "ns", 800},
                                                {"scan_ns_per_mac", "ns/MAC", 0.09},
                                                {"model_error_median_frac", "1", 0.06},
                                                {"model_error_max_frac", "1", 0.11}};

/// A preset file's content.
inline nlohmann::ordered_json cpu_json() {
  nlohmann::ordered_json document = {{"kind", "cpu"}, {"about", "test"}};
  for (const auto& constant : kCpuConstants) {
    document["constants"][constant.key] = {
        {"value", constant.value}, {"unit", constant.unit}, {"source", "this test"}};
  }
  return document;
}

}  // namespace lowbank::pim::testing
