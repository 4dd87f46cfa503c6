#include "pim/gpu_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lowbank::pim {
namespace {

constexpr double kBlockRows = PromptAttention::kBlockRows;
constexpr double kSustainedKernelS = 100e-6;
constexpr double kRowsOfAUnit = 16;
constexpr double kSplitKeys = 64;
constexpr double kKeySplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
constexpr double kStreamOverlap = 2.5;
constexpr double kMostRingGpus = 8;

constexpr RuleConstant<PromptAttention> kPromptConstants[] = {
    {"attention_launch_us", &PromptAttention::launch_us, 8},
    {"attention_compute_scale", &PromptAttention::compute_scale, 0.9},
    {"attention_startup_keys", &PromptAttention::startup_keys, 60},
    {"attention_score_ps", &PromptAttention::score_ps, 15},
    {"attention_memory_frac", &PromptAttention::memory_frac, 0.7},
    {"attention_longest_frac", &PromptAttention::longest_frac, 0.4},
    {"attention_sustained_loss", &PromptAttention::sustained_loss, 0.1}};

constexpr RuleConstant<DecodeAttention> kDecodeConstants[] = {
    {"decode_attention_launch_us", &DecodeAttention::launch_us, 8},
    {"decode_attention_memory_frac", &DecodeAttention::memory_frac, 0.85, 0.97},
    {"decode_attention_startup_us", &DecodeAttention::startup_us, 2},
    {"decode_attention_core_bandwidth_scale", &DecodeAttention::core_bandwidth_scale, 3},
    {"decode_attention_split_us", &DecodeAttention::split_us, 2},
    {"decode_attention_row_scale", &DecodeAttention::row_scale, 1},
    {"decode_attention_query_scale", &DecodeAttention::query_scale, 3},
    {"decode_attention_wave_frac", &DecodeAttention::wave_frac, 0.5, 1}};

constexpr RuleConstant<StateUpdateTimes> kStateConstants[] = {
    {"state_update_launch_us", &StateUpdateTimes::launch_us, 4},
    {"state_update_memory_frac", &StateUpdateTimes::memory_frac, 0.85, 0.97},
    {"state_update_element_ps", &StateUpdateTimes::element_ps, 100}};

constexpr RuleConstant<AllReduceTimes> kRingConstants[] = {
    {"ring_launch_us", &AllReduceTimes::ring_launch_us, 7},
    {"ring_hop_us", &AllReduceTimes::ring_hop_us, 3},
    {"ring_hop_exponent", &AllReduceTimes::ring_hop_exponent, 0.7},
    {"ring_frac", &AllReduceTimes::ring_frac, 0.7},
    {"ring_frac_exponent", &AllReduceTimes::ring_frac_exponent, 0.15}};

constexpr RuleConstant<AllReduceTimes> kDirectConstants[] = {
    {"direct_launch_us", &AllReduceTimes::direct_launch_us, 4},
    {"direct_hop_us", &AllReduceTimes::direct_hop_us, 0.2},
    {"direct_frac", &AllReduceTimes::direct_frac, 0.5},
    {"direct_frac_exponent", &AllReduceTimes::direct_frac_exponent, 0.1}};

template <class Rule>
void read_constants(const SystemPreset& preset, std::span<const RuleConstant<Rule>> constants,
                    Rule& rule) {
  for (const auto& constant : constants) {
    rule.*constant.member = preset.find(constant.key).value_or(constant.usual);
  }
}

double rounded_up(double value, double unit) { return std::ceil(value / unit) * unit; }

// The sum of 1, 2, ... n.
double triangle(double n) { return n * (n + 1) / 2; }

// Of max(0, a + i) over i = 0 ... n - 1, whole numbers.
double ramp_sum(double a, double n) {
  const double first = std::max(a, 0.0);
  const double steps = std::clamp(n + std::min(a, 0.0), 0.0, n);
  return steps > 0 ? steps * first + triangle(steps - 1) : 0.0;
}

// Steps over keys of all blocks of a head, and of the longest.
struct BlockSteps {
  double total = 0;
  double most = 0;
};

BlockSteps count_steps(const AttentionShape& s) {
  const double blocks = std::ceil(s.queries / kBlockRows);
  const double last_end = std::ceil((s.cached + s.queries) / kBlockRows);
  if (!s.is_causal) return {.total = blocks * last_end, .most = last_end};
  const double before = std::ceil(s.cached / kBlockRows);
  double total = triangle(blocks - 1) + (blocks - 1) * before + last_end;
  double most = last_end;
  if (s.window > 0) {
    // The first key of block i stands in step floor((cached - window + 1) / 128) + i.
    const double first = std::floor((s.cached - s.window + 1) / kBlockRows);
    total -= ramp_sum(first, blocks);
    most -= std::max(first + blocks - 1, 0.0);
  }
  return {.total = std::max(total, blocks), .most = std::max(most, 1.0)};
}

// a and b overlap in part: the larger, softened.
double overlapped(double a, double b) {
  const double longer = std::max(a, b);
  if (!(longer > 0)) return 0;
  return longer *
         std::pow(1 + std::pow(std::min(a, b) / longer, kStreamOverlap), 1 / kStreamOverlap);
}

}  // namespace

double AttentionShape::num_scores() const {
  if (!is_causal) return queries * (cached + queries);
  const double all = queries * cached + triangle(queries);
  // Query i reads max(0, cached + i + 1 - window) keys fewer.
  return window > 0 ? all - ramp_sum(cached + 1 - window, queries) : all;
}

double AttentionShape::moved_bytes() const {
  const double rows = batch * queries * head_dim;
  const double keys_each = cached + queries;
  const double keys = window > 0 ? std::min(keys_each, window + queries - 1) : keys_each;
  double bytes =
      2 * rows * query_heads * element_bytes + 2 * batch * keys * kv_heads * head_dim * kv_bytes;
  if (writes_cache) bytes += 2 * rows * kv_heads * (element_bytes + kv_bytes);
  if (rotates) bytes += 2 * rows * (query_heads + kv_heads) * element_bytes;
  return bytes;
}

PromptAttention::PromptAttention(const SystemPreset& preset)
    : num_cores(preset.value("num_cores")),
      flops_per_s(preset.value("peak_flops_per_s")),
      bytes_per_s(preset.value("memory_bytes_per_s")) {
  read_constants<PromptAttention>(preset, kPromptConstants, *this);
}

std::span<const RuleConstant<PromptAttention>> PromptAttention::constants() {
  return kPromptConstants;
}

double PromptAttention::seconds(const AttentionShape& s) const {
  const double peak = flops_per_s * std::floor(2 / s.element_bytes);
  const BlockSteps steps = count_steps(s);
  const double heads = s.batch * s.query_heads;
  const double at_peak_s = 4 * heads * s.head_dim * steps.total * kBlockRows * kBlockRows / peak;
  const double rate = peak / num_cores * compute_scale /
                      (1 + sustained_loss * at_peak_s / (at_peak_s + kSustainedKernelS));
  // Of a block, for one key.
  const double key_s = kBlockRows * (4 * s.head_dim / rate + score_ps * 1e-12);
  const double blocks = std::ceil(s.queries / kBlockRows);
  const double longest_s = (steps.most * kBlockRows + startup_keys) * key_s;
  const double total_s =
      heads * (steps.total * kBlockRows + blocks * startup_keys) * key_s / num_cores;
  const double compute_s = heads * blocks <= num_cores
                               ? longest_s
                               : std::max(longest_s, total_s + longest_frac * longest_s);
  return launch_us * 1e-6 + s.moved_bytes() / (bytes_per_s * memory_frac) + compute_s;
}

DecodeAttention::DecodeAttention(const SystemPreset& preset)
    : num_cores(preset.value("num_cores")),
      flops_per_s(preset.value("peak_flops_per_s")),
      bytes_per_s(preset.value("memory_bytes_per_s")),
      most_splits(preset.find("decode_attention_most_splits").value_or(16)),
      most_splits_alone(preset.find("decode_attention_most_splits_alone").value_or(most_splits)) {
  read_constants<DecodeAttention>(preset, kDecodeConstants, *this);
}

std::span<const RuleConstant<DecodeAttention>> DecodeAttention::constants() {
  return kDecodeConstants;
}

double DecodeAttention::seconds(const AttentionShape& s) const {
  const double all_keys = s.cached + s.queries;
  const double keys = s.window > 0 ? std::min(s.window, all_keys) : all_keys;
  const double tasks = s.batch * s.kv_heads;
  const double rows = s.query_heads / s.kv_heads * s.queries;
  const double key_bytes = 2 * s.head_dim * s.kv_bytes;
  const double key_s = std::max(
      key_bytes * num_cores / (core_bandwidth_scale * bytes_per_s),
      rounded_up(rows, kRowsOfAUnit) * 4 * s.head_dim * num_cores / flops_per_s * row_scale);
  const double splits_at_most = rows <= 1 ? most_splits_alone : most_splits;
  double cores_s = std::numeric_limits<double>::infinity();
  for (const double splits : kKeySplits) {
    if (splits > 1 && splits > splits_at_most) break;
    const double waves = tasks * splits / num_cores;
    const double in_turn = waves <= 1 ? 1.0 : waves + wave_frac * (std::ceil(waves) - waves);
    const double part = splits > 1 ? rounded_up(keys / splits, kSplitKeys) : keys;
    cores_s = std::min(cores_s, in_turn * (part * key_s + startup_us * 1e-6) +
                                    (splits > 1 ? split_us * 1e-6 : 0.0));
  }
  const double bytes = tasks * keys * key_bytes + 2 * s.batch * s.query_heads * s.queries *
                                                      s.head_dim * s.element_bytes * query_scale;
  return launch_us * 1e-6 + overlapped(cores_s, bytes / (bytes_per_s * memory_frac));
}

StateUpdateTimes::StateUpdateTimes(const SystemPreset& preset)
    : num_cores(preset.value("num_cores")), bytes_per_s(preset.value("memory_bytes_per_s")) {
  read_constants<StateUpdateTimes>(preset, kStateConstants, *this);
}

std::span<const RuleConstant<StateUpdateTimes>> StateUpdateTimes::constants() {
  return kStateConstants;
}

double StateUpdateTimes::seconds(double num_states, double rows, double columns,
                                 double state_bytes) const {
  const double elements = num_states * rows * columns;
  return launch_us * 1e-6 + overlapped(2 * elements * state_bytes / (bytes_per_s * memory_frac),
                                       elements * element_ps * 1e-12 / num_cores);
}

AllReduceTimes::AllReduceTimes(const SystemPreset& links)
    : bytes_per_s(links.value("link_bytes_per_s") / 2),
      direct_most_bytes(links.find("direct_most_bytes").value_or(8.4e6)) {
  read_constants<AllReduceTimes>(links, kRingConstants, *this);
  read_constants<AllReduceTimes>(links, kDirectConstants, *this);
}

std::span<const RuleConstant<AllReduceTimes>> AllReduceTimes::ring_constants() {
  return kRingConstants;
}

std::span<const RuleConstant<AllReduceTimes>> AllReduceTimes::direct_constants() {
  return kDirectConstants;
}

double AllReduceTimes::ring_s(double bytes, double num_gpus) const {
  const double pairs = num_gpus / 2;
  const double frac =
      ring_frac * std::pow(std::min(num_gpus, kMostRingGpus) / 2, ring_frac_exponent);
  const double hops_s = ring_hop_us * 1e-6 * std::pow(pairs, ring_hop_exponent);
  // Chunks of the best size: sqrt(a) + sqrt(b), squared, where a pipeline of steps of a / n takes
  // a for the first chunk and b for the bytes.
  const double root =
      std::sqrt(hops_s) + std::sqrt(sent_bytes(bytes, num_gpus) / (bytes_per_s * frac));
  return ring_launch_us * 1e-6 + root * root;
}

double AllReduceTimes::direct_s(double bytes, double num_gpus) const {
  const double frac =
      direct_frac * std::pow(std::min(num_gpus, kMostRingGpus) / 2, direct_frac_exponent);
  return direct_launch_us * 1e-6 + direct_hop_us * 1e-6 * (num_gpus - 1) +
         sent_bytes(bytes, num_gpus) / (bytes_per_s * frac);
}

double AllReduceTimes::seconds(double bytes, double num_gpus) const {
  if (num_gpus <= 1) return 0;
  if (direct_most_bytes <= 0) return ring_s(bytes, num_gpus);
  const double ring = ring_s(bytes, num_gpus);
  const double direct = std::min(direct_s(bytes, num_gpus), ring);
  if (bytes <= kDirectBytes) return direct;
  if (bytes >= direct_most_bytes) return ring;
  const double part = std::log(bytes / kDirectBytes) / std::log(direct_most_bytes / kDirectBytes);
  return std::pow(direct, 1 - part) * std::pow(ring, part);
}

}  // namespace lowbank::pim
