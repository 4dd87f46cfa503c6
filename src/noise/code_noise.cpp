#include "noise/code_noise.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "kernels/normal_fill.h"

namespace lowbank {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 13;
constexpr std::int64_t kBatch = 1024;  // normals of one slice that stay in the first-level cache

// Standard deviation of what one slice adds to the code.
CodeTable<double> slice_deviation(const CellSlice& slice, const NoiseOptions& noise) {
  CodeTable<double> deviation{};
  for (std::size_t i = 0; i < deviation.size(); ++i) {
    const double level = noise.model == NoiseModel::kMultiplicative ? slice.levels[i] : 1.0;
    deviation[i] = noise.sigma * slice.place_value * level;
  }
  return deviation;
}

}  // namespace

QuantisedFactor quantise_factor(const torch::Tensor& weight, int weight_bits) {
  const auto w = weight.detach().to(torch::kCPU, torch::kFloat).contiguous();
  const int max_code = (1 << (weight_bits - 1)) - 1;
  const float max_abs = w.numel() > 0 ? w.abs().max().item<float>() : 0.0f;
  QuantisedFactor out;
  if (max_abs > 0) out.scale = max_abs / static_cast<float>(max_code);
  out.codes = (w / out.scale).round().clamp(-max_code, max_code).to(torch::kChar);
  return out;
}

CodeTable<double> code_noise_variance(const CellCoding& coding, const NoiseOptions& noise) {
  CodeTable<double> variance{};
  for (const auto& slice : coding.slices()) {
    const auto deviation = slice_deviation(slice, noise);
    for (std::size_t i = 0; i < variance.size(); ++i) variance[i] += deviation[i] * deviation[i];
  }
  return variance;
}

torch::Tensor draw_code_noise(const torch::Tensor& codes, const CellCoding& coding,
                              const NoiseOptions& noise, const RandomKey& key) {
  TORCH_CHECK(codes.is_cpu() && codes.scalar_type() == torch::kChar && codes.is_contiguous(),
              "draw_code_noise: codes must be contiguous int8 on the CPU, got ", codes.toString());
  if (noise.sigma == 0) return at::zeros(codes.sizes(), at::kFloat);
  std::vector<CodeTable<float>> deviations;
  std::vector<RandomKey> keys;
  for (const auto& slice : coding.slices()) {
    const auto deviation = slice_deviation(slice, noise);
    std::transform(deviation.begin(), deviation.end(), deviations.emplace_back().begin(),
                   [](double d) { return static_cast<float>(d); });
    keys.push_back(key.derive(keys.size()));
  }
  auto out = at::empty(codes.sizes(), at::kFloat);
  float* const values = out.data_ptr<float>();
  const std::int8_t* const code = codes.const_data_ptr<std::int8_t>();
  at::parallel_for(0, codes.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    float normals[kBatch];
    for (std::int64_t first = begin; first < end; first += kBatch) {
      const std::int64_t count = std::min(kBatch, end - first);
      std::fill_n(values + first, count, 0.0f);
      for (std::size_t s = 0; s < keys.size(); ++s) {
        normal_fill({normals, static_cast<std::size_t>(count)}, keys[s],
                    static_cast<std::uint64_t>(first));
        const float* const deviation = deviations[s].data() + kCodeOffset;
        for (std::int64_t i = 0; i < count; ++i) {
          values[first + i] += deviation[code[first + i]] * normals[i];
        }
      }
    }
  });
  return out;
}

}  // namespace lowbank
