#include <string>

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "models/logits_stage.h"
#include "nn/tensor_file.h"
#include "temp_folder.h"
#include "torch_support.h"

namespace lowbank {
namespace {

constexpr const char* kFixtureVersion = "1";

/// transformers' logits of tiny random models: tests/parity/make_llama_fixture.py.
class LlamaParity : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = folder_ + "/expected.safetensors";
    ASSERT_EQ(SafetensorsFile::open(path)->metadata().at("fixture_version"), kFixtureVersion)
        << "stale fixture: run .venv-dev/bin/python tests/parity/make_llama_fixture.py";
    expected_ = read_tensors(path);
  }

  std::string folder_ = std::string(LOWBANK_SOURCE_DIR "/tests/parity/fixtures/") + GetParam();
  std::map<std::string, torch::Tensor> expected_;
};

// float32 over two blocks, other kernels: relative to the largest logit.
double tolerance(const torch::Tensor& logits) { return 1e-5 * logits.abs().max().item<double>(); }

TEST_P(LlamaParity, LogitsAreThoseOfTransformers) {
  const c10::InferenceMode inference;
  const auto& logits = expected_.at("logits");
  EXPECT_TENSOR_NEAR(load_model(folder_).model->forward(expected_.at("input_ids")), logits,
                     tolerance(logits));
}

TEST_P(LlamaParity, DecodingTokenByTokenGivesTransformersLogits) {
  const c10::InferenceMode inference;
  const auto model = load_model(folder_).model;
  const auto& ids = expected_.at("input_ids");
  const auto& logits = expected_.at("logits");
  const auto state = model->make_state(ids.size(0), ids.size(1));
  for (std::int64_t t = 0; t < ids.size(1); ++t) {
    EXPECT_TENSOR_NEAR(model->forward(ids.narrow(1, t, 1), state.get()), logits.narrow(1, t, 1),
                       tolerance(logits));
  }
}

TEST_P(LlamaParity, LeftPaddedRowsGiveTransformersLogitsWhereTheMaskIsOne) {
  const testing::TempFolder folder;
  write_tensors(folder.path("ids.safetensors"),
                {{"input_ids", expected_.at("padded_ids")},
                 {"attention_mask", expected_.at("attention_mask")}});
  LogitsConfig config;
  config.common.quiet = true;
  config.common.threads = 1;
  config.checkpoint = folder_;
  config.ids = folder.path("ids.safetensors");
  config.out = folder.path("logits.safetensors");
  Metrics metrics;
  logits_stage(config, nullptr, metrics);
  const auto mask = expected_.at("attention_mask").unsqueeze(-1);
  const auto& logits = expected_.at("padded_logits");
  const auto actual = read_tensors(config.out).at("logits");
  EXPECT_TENSOR_NEAR(actual, logits * mask, tolerance(logits));
  EXPECT_EQ(metrics["num_tokens"], expected_.at("attention_mask").sum().item<std::int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Transformers, LlamaParity,
                         ::testing::Values("llama_gqa_tied", "llama_bias_untied",
                                           "llama_llama3_rope", "llama_default",
                                           "llama_attention_bias", "llama_mlp_bias",
                                           "llama_head_dim_gqa", "llama_multi_query",
                                           "llama_eos_list", "llama_bf16"));

}  // namespace
}  // namespace lowbank
