#include "pim/preset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/resources.h"
#include "core/suggest.h"
#include "core/text.h"

namespace lowbank::pim {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

enum class Range { kPositive, kNotNegative, kFraction, kShare, kCount, kWholeNotNegative, kFlag };

// No constant of a machine is larger or, unless it is 0, smaller; figures beyond are mistakes.
constexpr double kMostValue = 1e18;
constexpr double kLeastValue = 1e-18;

struct ConstantRule {
  const char* key;
  const char* unit;
  Range range = Range::kPositive;
  bool is_optional = false;
};

constexpr ConstantRule kGpuRules[] = {
    {"num_cores", "cores", Range::kCount},
    {"l1_bytes", "B"},
    {"l2_bytes", "B"},
    {"peak_flops_per_s", "FLOP/s"},
    {"memory_bytes_per_s", "B/s"},
    {"compute_frac", "1", Range::kFraction},
    {"memory_frac", "1", Range::kFraction},
    {"element_bytes", "B", Range::kCount},
    {"gemm_launch_us", "us", Range::kNotNegative},
    {"gemm_compute_scale", "1"},
    {"gemm_memory_frac", "1", Range::kFraction},
    {"gemm_overlap_exponent", "1"},
    {"gemm_startup_depth", "elements", Range::kNotNegative},
    {"gemm_split_us", "us", Range::kNotNegative},
    {"gemm_wave_frac", "1", Range::kShare},
    {"gemm_core_bandwidth_scale", "1"},
    {"gemm_cache_bandwidth_scale", "1"},
    {"gemm_sustained_loss", "1", Range::kNotNegative},
    {"gemm_aligned_loss", "1", Range::kNotNegative},
    {"gemm_error_median_frac", "1"},
    {"gemm_error_p90_frac", "1"},
    {"elementwise_base_bytes_per_s", "B/s"},
    {"softmax_us_per_byte", "us/B"},
    {"softmax_us_per_column", "us", Range::kNotNegative, /*is_optional=*/true},
    {"softmax_launch_us", "us", Range::kNotNegative},
    {"norm_us_per_byte", "us/B"},
    {"norm_us_per_column", "us", Range::kNotNegative},
    {"norm_launch_us", "us", Range::kNotNegative},
    {"activation_us_per_byte", "us/B"},
    {"activation_us_per_column", "us", Range::kNotNegative},
    {"activation_launch_us", "us", Range::kNotNegative},
    {"embedding_us_per_byte", "us/B", Range::kPositive, /*is_optional=*/true},
    {"embedding_us_per_column", "us", Range::kNotNegative, /*is_optional=*/true},
    {"embedding_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"rotary_us_per_byte", "us/B", Range::kPositive, /*is_optional=*/true},
    {"rotary_us_per_column", "us", Range::kNotNegative, /*is_optional=*/true},
    {"rotary_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"residual_add_us_per_byte", "us/B", Range::kPositive, /*is_optional=*/true},
    {"residual_add_us_per_column", "us", Range::kNotNegative, /*is_optional=*/true},
    {"residual_add_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"attention_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"attention_compute_scale", "1", Range::kPositive, /*is_optional=*/true},
    {"attention_startup_keys", "keys", Range::kNotNegative, /*is_optional=*/true},
    {"attention_score_ps", "ps", Range::kNotNegative, /*is_optional=*/true},
    {"attention_memory_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"attention_longest_frac", "1", Range::kNotNegative, /*is_optional=*/true},
    {"attention_sustained_loss", "1", Range::kNotNegative, /*is_optional=*/true},
    {"prompt_attention_error_median_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"prompt_attention_error_p90_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"decode_attention_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_memory_frac", "1", Range::kFraction, /*is_optional=*/true},
    {"decode_attention_startup_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_core_bandwidth_scale", "1", Range::kPositive, /*is_optional=*/true},
    {"decode_attention_split_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_row_scale", "1", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_query_scale", "1", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_wave_frac", "1", Range::kNotNegative, /*is_optional=*/true},
    {"decode_attention_most_splits", "parts", Range::kCount, /*is_optional=*/true},
    {"decode_attention_most_splits_alone", "parts", Range::kCount, /*is_optional=*/true},
    {"decode_attention_error_median_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"decode_attention_error_p90_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"state_update_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"state_update_memory_frac", "1", Range::kFraction, /*is_optional=*/true},
    {"state_update_element_ps", "ps", Range::kNotNegative, /*is_optional=*/true},
    {"state_update_error_median_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"state_update_error_p90_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"memory_capacity_bytes", "B", Range::kPositive, /*is_optional=*/true},
    {"link_bytes_per_s", "B/s"},
    {"link_base_bytes_per_s", "B/s"},
    {"link_us_per_byte", "us/B"},
    {"link_launch_us", "us", Range::kNotNegative},
    {"ring_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"ring_hop_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"ring_hop_exponent", "1", Range::kNotNegative, /*is_optional=*/true},
    {"ring_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"ring_frac_exponent", "1", Range::kNotNegative, /*is_optional=*/true},
    {"direct_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"direct_hop_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"direct_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"direct_frac_exponent", "1", Range::kNotNegative, /*is_optional=*/true},
    {"direct_most_bytes", "B", Range::kNotNegative, /*is_optional=*/true},
    {"all_reduce_error_median_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"all_reduce_error_p90_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"link_pj_per_byte", "pJ/B", Range::kNotNegative, /*is_optional=*/true},
    {"idle_power_w", "W", Range::kNotNegative, /*is_optional=*/true},
    {"active_power_w", "W", Range::kNotNegative, /*is_optional=*/true},
    {"dram_pj_per_byte", "pJ/B"},
    {"l2_pj_per_byte", "pJ/B"},
    {"l1_pj_per_byte", "pJ/B"},
    {"register_pj_per_byte", "pJ/B"},
    {"alu_pj_per_mac", "pJ/MAC"},
};

constexpr ConstantRule kMemoryRules[] = {
    {"num_channels", "channels", Range::kCount},
    {"pseudo_channels_per_channel", "pseudo-channels", Range::kCount},
    {"bank_groups", "bank groups", Range::kCount},
    {"banks_per_group", "banks", Range::kCount},
    {"atom_bytes", "B", Range::kCount},
    {"clock_mhz", "MHz"},
    {"timing_clock_mhz", "MHz"},
    {"nBL", "cycles", Range::kCount},
    {"nCCDL", "cycles", Range::kCount},
    {"nRCDRD", "cycles", Range::kCount},
    {"nRCDWR", "cycles", Range::kCount},
    {"nRP", "cycles", Range::kCount},
    {"nRAS", "cycles", Range::kCount},
    {"nWR", "cycles", Range::kCount},
    {"nRTPL", "cycles", Range::kCount},
    {"nRRDS", "cycles", Range::kCount},
    {"nFAW", "cycles", Range::kCount},
    {"nRFC", "cycles", Range::kCount},
    {"nREFI", "cycles", Range::kCount},
    {"activate_pj", "pJ"},
    {"transfer_pj", "pJ"},
    {"num_stacks", "stacks", Range::kCount, /*is_optional=*/true},
    {"dies_per_stack", "dies", Range::kCount, /*is_optional=*/true},
    {"die_area_mm2", "mm2", Range::kPositive, /*is_optional=*/true},
};

constexpr ConstantRule kPimUnitRules[] = {
    {"element_bytes", "B", Range::kCount},
    {"chunk_columns", "columns", Range::kCount},
    {"update_comps_per_row", "commands", Range::kCount},
    {"attention_comps_per_row", "commands", Range::kCount},
    {"block_start_writes", "commands", Range::kWholeNotNegative},
    {"attention_writes_per_row", "commands", Range::kWholeNotNegative},
    {"attend_results_per_row", "commands", Range::kCount},
    {"results_per_row_and_byte", "commands", Range::kCount},
    {"hides_transfers", "0 or 1", Range::kFlag},
    {"compute_pj", "pJ"},
    {"area_overhead_frac", "1", Range::kPositive, /*is_optional=*/true},
};

constexpr ConstantRule kLinkRules[] = {
    {"link_bytes_per_s", "B/s"},
    {"ring_launch_us", "us", Range::kNotNegative},
    {"ring_hop_us", "us", Range::kNotNegative},
    {"ring_hop_exponent", "1", Range::kNotNegative},
    {"ring_frac", "1"},
    {"ring_frac_exponent", "1", Range::kNotNegative},
    {"direct_launch_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"direct_hop_us", "us", Range::kNotNegative, /*is_optional=*/true},
    {"direct_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"direct_frac_exponent", "1", Range::kNotNegative, /*is_optional=*/true},
    {"direct_most_bytes", "B", Range::kNotNegative},
    {"all_reduce_error_median_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"all_reduce_error_p90_frac", "1", Range::kPositive, /*is_optional=*/true},
    {"link_pj_per_byte", "pJ/B", Range::kNotNegative},
};

constexpr ConstantRule kRramRules[] = {
    {"pus_per_chip", "PUs", Range::kCount},
    {"analog_modules_per_pu", "modules", Range::kCount},
    {"arrays_per_module", "arrays", Range::kCount},
    {"array_rows", "rows", Range::kCount},
    {"array_columns", "columns", Range::kCount},
    {"digital_modules_per_pu", "modules", Range::kCount},
    {"analog_cycle_ns", "ns"},
    {"activation_bits", "bits", Range::kCount},
    {"weight_bits", "bits", Range::kCount},
    {"slc_bits", "bits", Range::kCount},
    {"mlc_bits", "bits", Range::kCount},
    {"digital_clock_mhz", "MHz"},
    {"digital_macs_per_cycle", "MAC/cycle"},
    {"special_inputs_per_cycle", "inputs/cycle"},
    {"attend_cost_factor", "1"},
    {"layer_transfer_cycles", "cycles", Range::kNotNegative},
    {"chip_link_bytes_per_s", "B/s"},
    {"activation_bytes", "B", Range::kCount},
    {"analog_power_w_per_pu", "W"},
    {"digital_power_w_per_pu", "W"},
    {"array_power_mw_per_module", "mW"},
    {"driver_power_mw_per_module", "mW"},
    {"adcs_per_module", "ADCs", Range::kCount},
    {"mlc_adc_pj", "pJ"},
    {"slc_adc_pj", "pJ"},
    {"adc_conversion_ns", "ns"},
    {"analog_area_mm2_per_pu", "mm2"},
    {"digital_area_mm2_per_pu", "mm2"},
    {"digital_arrays_per_module", "arrays", Range::kCount, /*is_optional=*/true},
    {"digital_array_rows", "rows", Range::kCount, /*is_optional=*/true},
    {"digital_array_columns", "columns", Range::kCount, /*is_optional=*/true},
};

// In ns, of this toolkit's kernels (src/pim/cpu_system.h).
constexpr ConstantRule kCpuRules[] = {
    {"cache_bytes", "B"},
    {"element_bytes", "B", Range::kCount},
    {"memory_ns_per_byte", "ns/B", Range::kNotNegative},
    {"cache_ns_per_byte", "ns/B", Range::kNotNegative},
    {"few_rows_call_ns", "ns", Range::kNotNegative},
    {"few_rows_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"linear_call_ns", "ns", Range::kNotNegative},
    {"linear_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"linear_ns_per_weight_byte", "ns/B", Range::kNotNegative},
    {"linear_ns_per_row_byte", "ns/B", Range::kNotNegative},
    {"attention_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"attention_ns_per_score", "ns/score", Range::kNotNegative},
    {"attention_ns_per_query", "ns/query", Range::kNotNegative},
    {"decode_attention_call_ns", "ns", Range::kNotNegative},
    {"decode_attention_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"norm_call_ns", "ns", Range::kNotNegative},
    {"norm_ns_per_byte", "ns/B", Range::kNotNegative},
    {"activation_call_ns", "ns", Range::kNotNegative},
    {"activation_ns_per_value", "ns/value", Range::kNotNegative},
    {"conv_call_ns", "ns", Range::kNotNegative},
    {"conv_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"scan_call_ns", "ns", Range::kNotNegative},
    {"scan_ns_per_mac", "ns/MAC", Range::kNotNegative},
    {"model_error_median_frac", "1", Range::kNotNegative},
    {"model_error_max_frac", "1", Range::kNotNegative},
};

struct KindEntry {
  SystemKind kind;
  const char* name;
  std::span<const ConstantRule> rules;
};

const KindEntry kKinds[] = {{SystemKind::kGpu, "gpu", kGpuRules},
                            {SystemKind::kHbmPim, "hbm-pim", {}},
                            {SystemKind::kRram, "rram", kRramRules},
                            {SystemKind::kCpu, "cpu", kCpuRules},
                            {SystemKind::kMemory, "memory", kMemoryRules},
                            {SystemKind::kPimUnit, "pim-unit", kPimUnitRules},
                            {SystemKind::kLink, "link", kLinkRules}};

std::span<const ConstantRule> rules_of(SystemKind kind) {
  for (const auto& entry : kKinds) {
    if (entry.kind == kind) return entry.rules;
  }
  return {};
}

constexpr JsonRules kPresetRules{.null_is_absent = false};

bool is_in_range(double value, Range range) {
  if (!std::isfinite(value)) return false;
  switch (range) {
    case Range::kPositive:
      return value >= kLeastValue && value <= kMostValue;
    case Range::kNotNegative:
      return value >= 0 && value <= kMostValue;
    case Range::kFraction:
      return value >= kLeastValue && value <= 1;
    case Range::kShare:
      return value >= 0 && value <= 1;
    case Range::kCount:
      return value >= 1 && value <= 1e6 && value == std::floor(value);
    case Range::kWholeNotNegative:
      return value >= 0 && value <= 1e6 && value == std::floor(value);
    case Range::kFlag:
      return value == 0 || value == 1;
  }
  return false;
}

std::string range_name(Range range) {
  switch (range) {
    case Range::kPositive:
      return "> 0 and at most 1e18";
    case Range::kNotNegative:
      return "in [0, 1e18]";
    case Range::kFraction:
      return "in (0, 1]";
    case Range::kShare:
      return "in [0, 1]";
    case Range::kCount:
      return "a whole number in [1, 1000000]";
    case Range::kWholeNotNegative:
      return "a whole number in [0, 1000000]";
    case Range::kFlag:
      return "0 or 1";
  }
  return "";
}

Constant read_constant(const JsonReader& reader, const ConstantRule& rule) {
  reader.check_keys({"value", "reference", "unit", "source", "uncertain"});
  const auto number = [&](const char* key) {
    const double value = reader.number(key);
    if (!is_in_range(value, rule.range)) {
      reader.at(key).reject(fmt::format("must be {}; got {}", range_name(rule.range), value));
    }
    return value;
  };
  Constant constant;
  constant.key = rule.key;
  constant.value = number("value");
  if (reader.has("reference")) constant.reference = number("reference");
  constant.unit = reader.nonempty_text("unit");
  if (constant.unit != rule.unit) {
    reader.at("unit").reject(fmt::format("must be '{}'; got '{}'", rule.unit, constant.unit));
  }
  constant.source = reader.nonempty_text("source");
  if (reader.has("uncertain")) constant.uncertain = reader.nonempty_text("uncertain");
  return constant;
}

// Every preset of configs/pim, parts included.
std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(find_resource("configs/pim"))) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A preset's text and where it stands.
struct PresetText {
  std::string text, name, file;
};

PresetText find_preset(const std::string& name_or_path) {
  if (name_or_path.ends_with(".json")) {
    return {read_regular_text(find_input(name_or_path)), fs::path(name_or_path).stem().string(),
            name_or_path};
  }
  const std::vector<std::string> names = preset_names();
  if (std::find(names.begin(), names.end(), name_or_path) == names.end()) {
    const std::vector<std::string> systems = system_names();
    throw ConfigError(
        fmt::format("system: unknown system '{}'{}; there are {}, or give a .json file",
                    name_or_path, did_you_mean(name_or_path, systems), fmt::join(systems, ", ")));
  }
  const std::string relative = fmt::format("configs/pim/{}.json", name_or_path);
  return {read_text(find_resource(relative)), name_or_path, relative};
}

SystemPreset parse_preset(const PresetText& from, bool is_part);

SystemPreset load_part(const JsonReader& whole, const char* key) {
  return parse_preset(find_preset(whole.nonempty_text(key)), /*is_part=*/true);
}

SystemKind read_system_kind(const JsonReader& document) {
  std::vector<std::string> names;
  for (const auto& entry : kKinds) names.emplace_back(entry.name);
  return kKinds[document.choice("kind", names)].kind;
}

SystemPreset parse_preset(const PresetText& from, bool is_part) {
  const auto& [text, name, source] = from;
  const JsonReader document(parse_json(text, source, /*allow_comments=*/true), source,
                            kPresetRules);
  SystemPreset preset;
  preset.name = name;
  preset.file = source;
  preset.kind = read_system_kind(document);
  preset.about = document.nonempty_text("about");
  if (preset.kind == SystemKind::kHbmPim) {
    if (is_part) document.reject("is a whole machine and cannot be a part of one");
    document.check_keys({"kind", "about", "gpu", "memory", "unit"});
    SystemPreset whole =
        combine_hbm_pim(name, load_part(document, "gpu"), load_part(document, "memory"),
                        load_part(document, "unit"));
    whole.about = preset.about;
    whole.file = source;
    return whole;
  }
  document.check_keys({"kind", "about", "constants"});
  const std::span<const ConstantRule> rules = rules_of(preset.kind);
  const JsonReader constants = document.at("constants");
  std::vector<std::string> keys;
  for (const auto& rule : rules) keys.emplace_back(rule.key);
  constants.check_keys(keys);
  for (const auto& rule : rules) {
    if (rule.is_optional && !constants.has(rule.key)) continue;
    preset.constants.push_back(read_constant(constants.at(rule.key), rule));
  }
  return preset;
}

}  // namespace

std::optional<double> SystemPreset::find(std::string_view key) const {
  for (const auto& constant : constants) {
    if (constant.key == key) return constant.value;
  }
  return std::nullopt;
}

double SystemPreset::value(std::string_view key) const {
  if (const auto known = find(key)) return *known;
  throw std::logic_error(fmt::format("preset {} has no constant '{}'", name, key));
}

SystemPreset SystemPreset::with_hardware(bool as_built) const {
  SystemPreset preset = *this;
  for (auto& constant : preset.constants) {
    if (!as_built && constant.reference) constant.value = *constant.reference;
    constant.reference.reset();
  }
  return preset;
}

std::string system_kind_name(SystemKind kind) {
  for (const auto& entry : kKinds) {
    if (entry.kind == kind) return entry.name;
  }
  return "";
}

std::string preset_to_json(const SystemPreset& preset) {
  Json document = {{"kind", system_kind_name(preset.kind)}, {"about", preset.about}};
  for (const auto& constant : preset.constants) {
    Json& object = document["constants"][constant.key];
    object["value"] = constant.value;
    if (constant.reference) object["reference"] = *constant.reference;
    object["unit"] = constant.unit;
    object["source"] = constant.source;
    if (!constant.uncertain.empty()) object["uncertain"] = constant.uncertain;
  }
  return dump_json(document);
}

SystemPreset combine_hbm_pim(std::string name, const SystemPreset& gpu, const SystemPreset& memory,
                             const SystemPreset& unit) {
  const auto expect = [](const SystemPreset& part, SystemKind kind) {
    if (part.kind == kind) return;
    throw ConfigError(fmt::format("{}: is of kind {}; a {} is needed here", part.file,
                                  system_kind_name(part.kind), system_kind_name(kind)));
  };
  expect(gpu, SystemKind::kGpu);
  expect(memory, SystemKind::kMemory);
  expect(unit, SystemKind::kPimUnit);
  SystemPreset whole;
  whole.name = std::move(name);
  whole.kind = SystemKind::kHbmPim;
  whole.about = fmt::format("{} {}", memory.about, unit.about);
  whole.file = fmt::format("{} + {}", memory.file, unit.file);
  whole.gpu = gpu.file.starts_with("configs/pim/") ? gpu.name : gpu.file;
  whole.constants = memory.constants;
  whole.constants.insert(whole.constants.end(), unit.constants.begin(), unit.constants.end());
  return whole;
}

void set_constant(SystemPreset& preset, Constant constant) {
  const std::span<const ConstantRule> rules = rules_of(preset.kind);
  const auto place = [&](std::string_view key) {
    const auto rule = std::find_if(rules.begin(), rules.end(),
                                   [&](const ConstantRule& each) { return each.key == key; });
    if (rule == rules.end()) {
      throw std::logic_error(fmt::format("{} has no constant '{}'", preset.name, key));
    }
    return rule - rules.begin();
  };
  const auto mine = place(constant.key);
  auto after = std::find_if(preset.constants.begin(), preset.constants.end(),
                            [&](const Constant& each) { return place(each.key) >= mine; });
  if (after == preset.constants.end() || after->key != constant.key) {
    preset.constants.insert(after, std::move(constant));
    return;
  }
  if (!constant.reference) constant.reference = after->reference;
  *after = std::move(constant);
}

std::string constant_unit(SystemKind kind, std::string_view key) {
  for (const auto& rule : rules_of(kind)) {
    if (rule.key == key) return rule.unit;
  }
  throw std::logic_error(fmt::format("no constant '{}'", key));
}

double nearest_allowed(std::string_view key, double value) {
  for (const auto& kind : kKinds) {
    for (const ConstantRule& rule : kind.rules) {
      if (rule.key != key) continue;
      switch (rule.range) {
        case Range::kPositive:
        case Range::kNotNegative:
          return std::max(value, 0.0);
        case Range::kFraction:
        case Range::kShare:
          return std::clamp(value, 0.0, 1.0);
        case Range::kCount:
          return std::max(std::round(value), 1.0);
        case Range::kWholeNotNegative:
          return std::max(std::round(value), 0.0);
        case Range::kFlag:
          return value > 0 ? 1 : 0;
      }
    }
  }
  throw std::logic_error(fmt::format("no kind of preset has a constant '{}'", key));
}

std::vector<std::string> system_names() {
  std::vector<std::string> names;
  for (const auto& name : preset_names()) {
    const SystemKind kind = load_preset(name).kind;
    if (kind != SystemKind::kMemory && kind != SystemKind::kPimUnit && kind != SystemKind::kLink) {
      names.push_back(name);
    }
  }
  return names;
}

SystemPreset load_preset(const std::string& name_or_path) {
  return parse_preset(find_preset(name_or_path), /*is_part=*/false);
}

SystemPreset preset_from_json(const std::string& text, const std::string& name,
                              const std::string& source) {
  return parse_preset({text, name, source}, /*is_part=*/false);
}

}  // namespace lowbank::pim
