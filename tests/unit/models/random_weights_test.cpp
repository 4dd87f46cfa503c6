#include <map>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "io/families/families.h"
#include "models/factory.h"
#include "models/language_model.h"
#include "sample_models.h"

namespace lowbank {
namespace {

using ModelJson = nlohmann::ordered_json;

// Hash of names and values of all parameters, in the order of their names.
std::string parameter_hash(const ModelJson& config, const RandomKey& key = RandomKey(7)) {
  const auto model = make_random_model(config, key);
  std::map<std::string, torch::Tensor> parameters;
  for (const auto& item : model->named_parameters()) parameters.emplace(item.key(), item.value());
  std::string bytes;
  for (const auto& [name, values] : parameters) {
    bytes += name;
    bytes.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  }
  return hash_bytes(bytes);
}

// The hashes were recorded when the names of the parameters decided how they are drawn: a training
// from scratch must begin where it began then.
TEST(RandomWeights, AreTheSameBytesAsEver) {
  const std::pair<ModelJson, const char*> cases[] = {
      {testing::tiny_config(), "cc2086b9a6efff50be39de2917c2b4e1"},
      {testing::biased_config(), "8b755ee37705c6859bb996442b176358"},
      {testing::small_bert("BertModel"), "bb8dd022db575c9714971d8a446607aa"},
      {testing::small_bert("BertForPreTraining"), "c00412aaee1081b308d00f9c3bf25b8e"},
      {testing::small_bert("BertForSequenceClassification"), "46603fc7d43145f4762af7162a517cba"},
      {testing::small_mamba(), "06754b037dfa2c5b97be0421eaa8e475"}};
  for (const auto& [config, expected] : cases) {
    EXPECT_EQ(parameter_hash(config), expected) << config;
  }
}

TEST(SampleModels, AreOfEveryFamily) {
  std::set<std::string> sampled;
  for (const auto& config : testing::sample_models()) {
    sampled.insert(config["model_type"].get<std::string>());
  }
  for (const auto& family : families()) {
    EXPECT_TRUE(sampled.contains(std::string(family.model_type))) << family.model_type;
  }
}

TEST(RandomWeights, DependOnTheKey) {
  EXPECT_NE(parameter_hash(testing::tiny_config(), RandomKey(7)),
            parameter_hash(testing::tiny_config(), RandomKey(8)));
}

}  // namespace
}  // namespace lowbank
