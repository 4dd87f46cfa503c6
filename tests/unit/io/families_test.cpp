#include "io/families/families.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "error_text.h"
#include "io/gguf_model.h"

namespace lowbank {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using testing::error_text;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::vector<std::string> names_of(const ParameterList& list, const std::string& part = "") {
  std::vector<std::string> names;
  for (const auto& parameter : list.parameters) {
    if (parameter.part == part) names.push_back(parameter.name);
  }
  return names;
}

TEST(Families, ListEveryParameterOnceAndTieOnlyToWhatTheyList) {
  for (const auto& family : families()) {
    for (const bool is_tied : {true, false}) {
      const Json config = {{"model_type", family.model_type}, {"tie_word_embeddings", is_tied}};
      const auto list = model_parameters(config, "config.json");
      std::set<std::string> names;
      for (const auto& parameter : list.parameters) {
        EXPECT_TRUE(names.insert(parameter.name).second) << parameter.name;
        EXPECT_FALSE(parameter.shape.empty()) << parameter.name;
        EXPECT_TRUE(std::ranges::all_of(parameter.shape, [](auto size) { return size >= 1; }))
            << parameter.name;
      }
      for (const auto& [name, original] : list.ties) {
        EXPECT_FALSE(names.contains(name)) << name;
        EXPECT_TRUE(names.contains(original)) << original;
      }
    }
  }
}

TEST(Families, GgufHasANameForEveryParameterThatEverySuchModelHas) {
  for (const auto& family : families()) {
    const std::string type(family.model_type);
    if (!has_gguf(type)) continue;
    const Json config = {{"model_type", type}, {"tie_word_embeddings", false}};
    for (const auto& name : names_of(model_parameters(config, "config.json"))) {
      EXPECT_TRUE(gguf_name(type, name)) << name;
    }
  }
}

TEST(Families, AnUnknownOneIsRefusedWithTheNamesOfTheOthers) {
  EXPECT_THAT(
      error_text<ConfigError>([] {
        model_parameters({{"model_type", "gpt2"}}, "dir/config.json");
      }),
      AllOf(HasSubstr("dir/config.json: model_type is \"gpt2\""), HasSubstr("llama, bert, mamba")));
}

TEST(Families, MoreLayersThanAnyModelHasAreRefusedBeforeTheyTakeMemory) {
  for (const auto& family : families()) {
    const Json config = {{"model_type", family.model_type}, {"num_hidden_layers", 1025}};
    EXPECT_THAT(error_text<ConfigError>([&] { model_parameters(config, "c"); }),
                HasSubstr("a whole number in [1, 1024]"));
  }
}

TEST(Families, WhatChangesTheResultIsRefusedWhoeverAsks) {
  const auto refusal = [](const Json& config) {
    return error_text<ConfigError>([&] { model_parameters(config, "c"); });
  };
  EXPECT_THAT(refusal({{"model_type", "llama"}, {"hidden_act", "gelu"}}), HasSubstr("hidden_act"));
  EXPECT_THAT(refusal({{"model_type", "bert"}, {"is_decoder", true}}), HasSubstr("is_decoder"));
  EXPECT_THAT(refusal({{"model_type", "mamba"}, {"intermediate_size", 7}}),
              HasSubstr("expand x hidden_size = 1536"));
}

TEST(Families, BertsNamesBeginAsThoseOfTheFileDo) {
  const Json bare = {{"model_type", "bert"}, {"architectures", {"BertModel"}}};
  const auto has_prefix = [](const std::string& name) {
    return name == "bert.embeddings.word_embeddings.weight";
  };
  EXPECT_EQ(names_of(model_parameters(bare, "c")).front(), "embeddings.word_embeddings.weight");
  EXPECT_EQ(names_of(model_parameters(bare, "c", has_prefix)).front(),
            "bert.embeddings.word_embeddings.weight");
  const Json headed = {{"model_type", "bert"}, {"architectures", {"BertForMaskedLM"}}};
  EXPECT_EQ(names_of(model_parameters(headed, "c"), "pooler").front(), "bert.pooler.dense.weight");
}

TEST(Families, AnUntiedHeadOfBertIsAParameterOfItsOwn) {
  const Json config = {{"model_type", "bert"}, {"tie_word_embeddings", false}};
  EXPECT_THAT(names_of(model_parameters(config, "c"), "MLM head"),
              Contains("cls.predictions.decoder.weight"));
}

}  // namespace
}  // namespace lowbank
