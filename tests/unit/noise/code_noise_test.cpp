#include "noise/code_noise.h"

#include <cmath>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>

#include "torch_support.h"

namespace lowbank {
namespace {

NoiseOptions noise_of(NoiseModel model, CellEncoding encoding, double sigma = 0.1) {
  return {.model = model, .sigma = sigma, .encoding = encoding};
}

CellCoding coding_of(const NoiseOptions& noise) {
  return {noise.encoding, noise.weight_bits, noise.cell_bits};
}

class CodeNoiseTest : public testing::SeededTest {};

TEST_F(CodeNoiseTest, QuantisingKeepsEveryWeightWithinHalfAStep) {
  const auto w = at::randn({40, 30});
  const auto [codes, scale] = quantise_factor(w, 8);
  EXPECT_EQ(codes.abs().max().item<int>(), 127) << "the largest weight takes the largest code";
  EXPECT_LE((codes.to(at::kFloat) * scale - w).abs().max().item<float>(), 0.5001f * scale);
}

TEST_F(CodeNoiseTest, MeanAndVarianceOfEachModelAndEncodingAreTheStatedOnes) {
  constexpr std::int64_t kDraws = 40000;
  const std::pair<const char*, CellEncoding> encodings[] = {
      {"twos_complement", CellEncoding::kTwosComplement},
      {"sign_magnitude", CellEncoding::kSignMagnitude},
      {"differential", CellEncoding::kDifferential},
      {"offset_binary", CellEncoding::kOffsetBinary}};
  for (const auto model : {NoiseModel::kMultiplicative, NoiseModel::kAdditive}) {
    const char* const model_name =
        model == NoiseModel::kMultiplicative ? "multiplicative" : "additive";
    for (const auto& [name, encoding] : encodings) {
      const auto noise = noise_of(model, encoding);
      const auto coding = coding_of(noise);
      const auto variance = code_noise_variance(coding, noise);
      for (const int code : {-127, -64, -1, 0, 1, 37, 127}) {
        const double wanted = variance[static_cast<std::size_t>(code + kCodeOffset)];
        const auto draw = draw_code_noise(at::full({kDraws}, code, at::kChar), coding, noise,
                                          RandomKey(3).derive(name))
                              .to(at::kDouble);
        // Five standard errors: of the mean sqrt(v / n), of the variance v sqrt(2 / n).
        EXPECT_NEAR(draw.mean().item<double>(), 0, 5 * std::sqrt(wanted / kDraws) + 1e-12)
            << model_name << " " << name << " " << code;
        EXPECT_NEAR(draw.var().item<double>(), wanted, 5 * wanted * std::sqrt(2.0 / kDraws) + 1e-12)
            << model_name << " " << name << " " << code;
      }
    }
  }
}

TEST_F(CodeNoiseTest, VarianceOfMinusOneFollowsFromItsSlices) {
  const auto noise = noise_of(NoiseModel::kMultiplicative, CellEncoding::kTwosComplement, 0.025);
  const auto variance = code_noise_variance(coding_of(noise), noise);
  // -1 = -64 + 48 + 12 + 3: 80 times the deviation of +1, which is one cell of value 1.
  const double wanted = 0.025 * 0.025 * (64.0 * 64 + 48 * 48 + 12 * 12 + 3 * 3);
  EXPECT_NEAR(variance[kCodeOffset - 1], wanted, 1e-12 * wanted);
  EXPECT_NEAR(std::sqrt(variance[kCodeOffset - 1] / variance[kCodeOffset + 1]), 80.95, 0.01);
}

TEST_F(CodeNoiseTest, SignMagnitudeIsQuieterThanTwosComplementOnGaussianWeights) {
  const auto codes = quantise_factor(at::randn({512, 512}), 8).codes;
  const auto ratio_db = [&](CellEncoding encoding) {
    const auto noise = noise_of(NoiseModel::kMultiplicative, encoding, 0.025);
    const auto draw = draw_code_noise(codes, coding_of(noise), noise, RandomKey(1));
    return 10 * std::log10(codes.to(at::kDouble).square().sum().item<double>() /
                           draw.to(at::kDouble).square().sum().item<double>());
  };
  // Published comparison at this sigma: 25.9 and 33.5 dB. The figures move with the largest of the
  // weights, which sets the scale, hence half a decibel.
  EXPECT_NEAR(ratio_db(CellEncoding::kTwosComplement), 25.9, 0.5);
  EXPECT_NEAR(ratio_db(CellEncoding::kSignMagnitude), 33.5, 0.5);
}

TEST_F(CodeNoiseTest, TheDrawDoesNotDependOnTheNumberOfThreads) {
  const auto noise = noise_of(NoiseModel::kAdditive, CellEncoding::kSignMagnitude);
  const auto codes = quantise_factor(at::randn({700, 900}), 8).codes;
  at::set_num_threads(1);
  const auto one = draw_code_noise(codes, coding_of(noise), noise, RandomKey(5));
  at::set_num_threads(2);
  const auto two = draw_code_noise(codes, coding_of(noise), noise, RandomKey(5));
  at::set_num_threads(1);
  EXPECT_TRUE(one.equal(two));
}

TEST_F(CodeNoiseTest, DifferentKeysAndSlicesDrawDifferently) {
  const auto noise = noise_of(NoiseModel::kAdditive, CellEncoding::kOffsetBinary);
  const auto codes = at::full({1000}, 5, at::kChar);
  const auto a = draw_code_noise(codes, coding_of(noise), noise, RandomKey(5));
  const auto b = draw_code_noise(codes, coding_of(noise), noise, RandomKey(6));
  EXPECT_FALSE(a.equal(b));
}

}  // namespace
}  // namespace lowbank
