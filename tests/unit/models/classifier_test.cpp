#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "error_text.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "nn/svd_linear.h"
#include "temp_folder.h"
#include "tiny_llama.h"
#include "torch_support.h"

namespace lowbank {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

const std::vector<std::string> kLabels = {"no", "perhaps", "yes"};

std::string fixture(const char* name) {
  return std::string(LOWBANK_SOURCE_DIR "/tests/parity/fixtures/") + name;
}

std::map<std::string, torch::Tensor> parameters_of(const LoadedModel& loaded) {
  std::map<std::string, torch::Tensor> parameters;
  for (const auto& item : loaded.model->named_parameters()) {
    parameters.emplace(item.key(), item.value().detach());
  }
  return parameters;
}

torch::Tensor some_ids() { return torch::tensor({{2L, 17L, 40L, 9L, 3L}, {2L, 5L, 6L, 63L, 3L}}); }

class Classifier : public testing::SeededTest {
 protected:
  const testing::TempFolder folder_;
};

TEST_F(Classifier, AnEncoderOfEachFormGetsOneAndKeepsItsOwnWeights) {
  const at::NoGradGuard no_grad;
  for (const auto* name :
       {"bert_model", "bert_no_pooler", "bert_masked_lm", "bert_pretraining", "bert_old_names"}) {
    const auto base = load_model(fixture(name));
    const auto loaded = load_classifier(fixture(name), kLabels, RandomKey(1));
    ASSERT_EQ(loaded.model->head_kind(), HeadKind::kSequence) << name;
    EXPECT_TRUE(
        loaded.model->hidden_states(some_ids()).equal(base.model->hidden_states(some_ids())))
        << name;
    const auto logits = loaded.model->forward(some_ids());
    EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{2, 3}));
    check_labels(loaded, kLabels);

    // What is saved loads as any model, with the labels in transformers' words.
    const auto saved = folder_.path(name);
    save_model(saved, loaded, {"test", "hash", "0"});
    EXPECT_TRUE(load_model(saved).model->forward(some_ids()).equal(logits)) << name;
    const auto config = read_json(saved + "/config.json");
    EXPECT_EQ(config["architectures"], nlohmann::ordered_json({"BertForSequenceClassification"}));
    EXPECT_EQ(config["id2label"]["1"], "perhaps");
    EXPECT_EQ(config["label2id"]["yes"], 2);
    EXPECT_EQ(config["problem_type"], "single_label_classification");
    EXPECT_FALSE(config.contains("num_labels"));
  }
}

TEST_F(Classifier, ItsWeightsComeFromTheKeyAndAStoredPoolerStays) {
  const auto first = parameters_of(load_classifier(fixture("bert_model"), kLabels, RandomKey(1)));
  const auto same = parameters_of(load_classifier(fixture("bert_model"), kLabels, RandomKey(1)));
  const auto other = parameters_of(load_classifier(fixture("bert_model"), kLabels, RandomKey(2)));
  const auto base = parameters_of(load_model(fixture("bert_model")));
  EXPECT_TRUE(first.at("classifier.weight").equal(same.at("classifier.weight")));
  EXPECT_FALSE(first.at("classifier.weight").equal(other.at("classifier.weight")));
  EXPECT_TRUE(first.at("classifier.bias").eq(0).all().item<bool>());
  EXPECT_TRUE(first.at("bert.pooler.dense.weight").equal(base.at("pooler.dense.weight")));
  const auto new_pooler =
      parameters_of(load_classifier(fixture("bert_no_pooler"), kLabels, RandomKey(1)));
  EXPECT_LT(new_pooler.at("bert.pooler.dense.weight").abs().max().item<double>(), 0.2);
}

TEST_F(Classifier, FactoredLayersOfABareEncoderAreFoundUnderTheirNewNames) {
  const at::NoGradGuard no_grad;
  const auto base = load_model(fixture("bert_model"));
  testing::factorize(*base.model, 5);
  save_model(folder_.path("factored"), base, {"test", "hash", "0"});
  const auto loaded = load_classifier(folder_.path("factored"), kLabels, RandomKey(1));
  EXPECT_TRUE(loaded.model->hidden_states(some_ids()).equal(base.model->hidden_states(some_ids())));
}

TEST_F(Classifier, NumbersWantOneOutput) {
  const auto loaded = load_classifier(fixture("bert_model"), {}, RandomKey(1));
  EXPECT_EQ(loaded.model->forward(some_ids()).size(1), 1);
  save_model(folder_.path("saved"), loaded, {"test", "hash", "0"});
  EXPECT_EQ(read_json(folder_.path("saved") + "/config.json")["problem_type"], "regression");
}

TEST_F(Classifier, OneThatIsThereStaysAndHasToFit) {
  const auto loaded = load_classifier(fixture("bert_three_labels"), kLabels, RandomKey(1));
  const auto base = parameters_of(load_model(fixture("bert_three_labels")));
  EXPECT_TRUE(parameters_of(loaded).at("classifier.weight").equal(base.at("classifier.weight")));
  check_labels(loaded, kLabels);  // other names may mean the same
  EXPECT_THAT(error_text<ConfigError>([&] {
                check_labels(loaded, {"no", "yes"});
              }),
              HasSubstr("its classifier has 3 outputs, but the table has 2 classes"));
  EXPECT_THAT(error_text<ConfigError>([&] { check_labels(loaded, {}); }),
              HasSubstr("3 outputs, but the table has numbers as labels"));
  EXPECT_THAT(error_text<ConfigError>([&] {
                check_labels(loaded, {"entailment", "neutral", "contradiction"});
              }),
              HasSubstr("in the order contradiction, neutral, entailment"));
}

TEST_F(Classifier, AModelThatIsNoEncoderIsRefused) {
  EXPECT_THAT(error_text<ConfigError>(
                  [&] { load_classifier(fixture("llama_default"), kLabels, RandomKey(1)); }),
              HasSubstr("classification needs an encoder (BERT); this is a llama model"));
}

}  // namespace
}  // namespace lowbank
