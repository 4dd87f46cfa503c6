#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "io/safetensors.h"
#include "models/factory.h"
#include "nn/tensor_file.h"
#include "temp_folder.h"
#include "tiny_llama.h"
#include "torch_support.h"
#include "unit/nn/test_layers.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::biased_config;
using testing::factorize;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::random_ids;
using testing::TempFolder;
using testing::tiny_config;
using testing::tiny_llama;

constexpr const char* kQuery = "model.layers.0.self_attn.q_proj.weight";

class CheckpointTest : public testing::SeededTest {
 protected:
  void save(std::shared_ptr<LanguageModel> model, const std::string& from = "") {
    save_model(checkpoint_, {.model = std::move(model), .folder = from, .meta = {}},
               {.stage = "test", .settings_hash = "h", .version = "0"});
  }
  /// Rewrites model.safetensors after `change`.
  void change_tensors(const std::function<void(std::map<std::string, torch::Tensor>&)>& change) {
    auto tensors = read_tensors(weights_);
    change(tensors);
    // Not write_tensors, which refuses what is not finite.
    std::vector<TensorToWrite> entries;
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.contiguous();
      const ElementType type =
          tensor.scalar_type() == c10::kInt ? ElementType::kI32 : ElementType::kF32;
      entries.push_back(
          {.name = name,
           .type = type,
           .shape = tensor.sizes().vec(),
           .bytes = {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    write_safetensors(weights_, entries, {});
  }
  std::string error_of_load() {
    try {
      load_model(checkpoint_);
    } catch (const Error& e) {
      return e.what();
    }
    return "loaded";
  }

  TempFolder folder_;
  std::string checkpoint_ = folder_.path("checkpoint");
  std::string weights_ = checkpoint_ + "/model.safetensors";
};

TEST_F(CheckpointTest, SavedModelsComeBackWithTheSameBits) {
  for (const auto& config : {tiny_config(), biased_config()}) {
    for (const bool factored : {false, true}) {
      const auto model = tiny_llama(config);
      if (factored) factorize(*model, 5);
      const auto ids = random_ids(2, 9);
      save(model);
      const auto loaded = load_model(checkpoint_);
      EXPECT_TRUE(at::equal(loaded.model->forward(ids), model->forward(ids)));
      EXPECT_EQ(count_parameters(*loaded.model), count_parameters(*model));
      EXPECT_EQ(loaded.meta.linears.size(), factored ? 14u : 0u);
      EXPECT_FALSE(loaded.model->is_training());
    }
  }
}

TEST_F(CheckpointTest, ARunFolderLeadsToItsCheckpoint) {
  save(tiny_llama());
  EXPECT_EQ(fs::canonical(load_model(folder_.path()).folder), fs::canonical(checkpoint_));
}

TEST_F(CheckpointTest, LoadedParametersMayBeTrained) {
  save(tiny_llama());
  const auto before = read_bytes(weights_);
  const auto loaded = load_model(checkpoint_);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : loaded.model->parameters()) parameter.add_(1.0);
  EXPECT_EQ(read_bytes(weights_), before);
}

TEST_F(CheckpointTest, TheHistoryGrowsAndFactorsAreRecorded) {
  const auto model = tiny_llama();
  factorize(*model, 3);
  save(model);
  auto loaded = load_model(checkpoint_);
  save_model(folder_.path("second"), loaded,
             {.stage = "finetune", .settings_hash = "x", .version = "1"});
  const auto meta = load_model(folder_.path("second")).meta;
  ASSERT_EQ(meta.history.size(), 2u);
  EXPECT_EQ(meta.history[1].stage, "finetune");
  ASSERT_EQ(meta.linears.size(), 14u);
  EXPECT_EQ(meta.linears[0].path, "model.layers.0.self_attn.q_proj");
  const LayerRecord expected{.kind = "svd", .settings = {{"rank", 3L}}};
  EXPECT_EQ(meta.linears[0].layers, std::vector{expected});
}

TEST_F(CheckpointTest, ADenseFolderIsWhatTransformersExpects) {
  save(tiny_llama());
  const auto config = read_json(checkpoint_ + "/config.json");
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(config["torch_dtype"], "float32");
  const auto file = SafetensorsFile::open(weights_);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->find("lm_head.weight"), nullptr);  // tied: stored once
  EXPECT_FALSE(fs::exists(checkpoint_ + "/.partial"));
}

TEST_F(CheckpointTest, TheStoredTypeIsTheModelsType) {
  auto config = tiny_config();
  config.erase("torch_dtype");
  config["dtype"] = "float32";  // the key of transformers 5 is kept
  save(make_random_model(config, RandomKey(1), c10::kCPU, c10::kBFloat16));
  const auto written = read_json(checkpoint_ + "/config.json");
  EXPECT_EQ(written["dtype"], "bfloat16");
  EXPECT_FALSE(written.contains("torch_dtype"));
  EXPECT_EQ(SafetensorsFile::open(weights_)->find(kQuery)->type, ElementType::kBf16);
  EXPECT_EQ(load_model(checkpoint_).model->parameters().front().scalar_type(), c10::kFloat);
  EXPECT_EQ(stored_type(checkpoint_), c10::kBFloat16);
}

TEST_F(CheckpointTest, SideFilesGoAlong) {
  const TempFolder source;
  source.file("tokenizer.json", "{}");
  source.file("LICENSE", "free");
  source.file("notes.txt", "mine");
  save(tiny_llama(), source.path());
  EXPECT_EQ(read_bytes(checkpoint_ + "/tokenizer.json"), "{}");
  EXPECT_EQ(read_bytes(checkpoint_ + "/LICENSE"), "free");
  EXPECT_FALSE(fs::exists(checkpoint_ + "/notes.txt"));
}

TEST_F(CheckpointTest, SavingOverACheckpointReplacesIt) {
  save(tiny_llama(biased_config()));
  const auto model = tiny_llama();
  factorize(*model, 2);
  save(model);
  const auto ids = random_ids(1, 4);
  EXPECT_TRUE(at::equal(load_model(checkpoint_).model->forward(ids), model->forward(ids)));
}

TEST_F(CheckpointTest, AnUnwritableFolderIsAnIoErrorAndTouchesNothing) {
  checkpoint_ = folder_.file("a_file", "text") + "/checkpoint";
  EXPECT_THROW(save(tiny_llama()), IoError);
  EXPECT_EQ(read_bytes(folder_.path("a_file")), "text");
}

TEST_F(CheckpointTest, EveryTensorThatDoesNotFitIsNamedInOneError) {
  save(tiny_llama());
  change_tensors([](auto& tensors) {
    tensors.erase("model.norm.weight");
    tensors["model.layers.7.mlp.up_proj.weight"] = at::zeros({2, 2});
    tensors[kQuery] = at::zeros({32, 31});
    tensors["model.embed_tokens.weight"][3][4] = NAN;
    tensors["model.layers.1.input_layernorm.weight"][0] = INFINITY;
    tensors["model.layers.0.mlp.up_proj.weight"] =
        tensors["model.layers.0.mlp.up_proj.weight"].to(c10::kInt);
  });
  EXPECT_THAT(
      error_of_load(),
      AllOf(HasSubstr("'model.norm.weight' [32] is missing"),
            HasSubstr("'model.layers.7.mlp.up_proj.weight' [2, 2] has no place in the model"),
            HasSubstr("q_proj.weight' is [32, 31], config.json wants [32, 32]"),
            HasSubstr("'model.embed_tokens.weight' has values that are not finite"),
            HasSubstr("'model.layers.1.input_layernorm.weight' has values that are not finite"),
            HasSubstr("'model.layers.0.mlp.up_proj.weight' is of type I32"),
            Not(HasSubstr("perhaps more")), Not(HasSubstr("\n"))));
}

TEST_F(CheckpointTest, LargeFiniteValuesAreNotTakenForInfinity) {
  save(tiny_llama());
  change_tensors([](auto& tensors) { tensors[kQuery].fill_(3e38); });
  EXPECT_EQ(error_of_load(), "loaded");
}

TEST_F(CheckpointTest, AbsurdSizesEndAfterTwentyProblemsWithoutMemory) {
  save(tiny_llama());
  auto config = tiny_config();
  config["num_hidden_layers"] = 1024;
  config["hidden_size"] = 1 << 24;
  config["intermediate_size"] = 1 << 24;
  folder_.file("checkpoint/config.json", config.dump());
  EXPECT_THAT(error_of_load(), HasSubstr("perhaps more"));
  config["num_hidden_layers"] = 1025;
  folder_.file("checkpoint/config.json", config.dump());
  EXPECT_THAT(error_of_load(),
              HasSubstr("num_hidden_layers: must be a whole number in [1, 1024]; got 1025"));
}

TEST_F(CheckpointTest, BuffersOfOldFilesAreIgnored) {
  save(tiny_llama());
  change_tensors([](auto& tensors) {
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::zeros({4});
  });
  EXPECT_EQ(error_of_load(), "loaded");
}

TEST_F(CheckpointTest, ATiedHeadMayBeStoredTwiceOnlyIfEqual) {
  save(tiny_llama());
  change_tensors([](auto& tensors) {
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone();
  });
  EXPECT_EQ(error_of_load(), "loaded");
  change_tensors([](auto& tensors) { tensors["lm_head.weight"][0][0] += 1; });
  EXPECT_THAT(error_of_load(), HasSubstr("'lm_head.weight' differs from "
                                         "'model.embed_tokens.weight'"));
}

TEST_F(CheckpointTest, RecordsOfFactorsMustFitTheModel) {
  const auto model = tiny_llama();
  factorize(*model, 5);
  save(model);
  auto meta = read_checkpoint_meta(checkpoint_);
  auto& rank = meta.linears[0].layers[0].settings["rank"];
  rank = std::int64_t{33};
  write_checkpoint_meta(checkpoint_, meta);
  EXPECT_THAT(error_of_load(), HasSubstr("q_proj' has rank 33, allowed are 1 to 32"));
  rank = std::int64_t{4};
  write_checkpoint_meta(checkpoint_, meta);
  EXPECT_THAT(error_of_load(), HasSubstr("q_proj.u' is [32, 5], config.json wants [32, 4]"));
  rank = std::int64_t{5};
  meta.linears.push_back({.path = "model.layers.9.mlp.up_proj",
                          .layers = {{.kind = "svd", .settings = {{"rank", 1L}}}}});
  write_checkpoint_meta(checkpoint_, meta);
  EXPECT_THAT(error_of_load(), HasSubstr("lowbank.json names layer 'model.layers.9.mlp.up_proj'"));
  meta.linears.back().layers[0].kind = "tile_svd";
  write_checkpoint_meta(checkpoint_, meta);
  EXPECT_THAT(error_of_load(), HasSubstr("is of kind 'tile_svd'"));
}

TEST_F(CheckpointTest, ALayerThatWrapsNothingIsTheInnermostOne) {
  const auto model = tiny_llama();
  factorize(*model, 5);
  save(model);
  auto meta = read_checkpoint_meta(checkpoint_);
  auto& layers = meta.linears[0].layers;
  layers.insert(layers.begin(), {.kind = "dense"});
  write_checkpoint_meta(checkpoint_, meta);
  change_tensors([](auto& tensors) { tensors[kQuery] = at::zeros({32, 32}); });
  EXPECT_THAT(error_of_load(), AllOf(HasSubstr("lowbank.json"), HasSubstr("self_attn.q_proj'"),
                                     HasSubstr("of kind 'svd' must be the innermost one")));
}

TEST_F(CheckpointTest, ParametersOfOneNameInOneSlotAreNotLost) {
  const auto model = tiny_llama();
  for (int i = 0; i < 2; ++i) {
    model->slots().front().wrap(
        [](auto base) { return std::make_shared<testing::OutputMask>(std::move(base)); });
  }
  EXPECT_THROW(save(model), c10::Error);
}

TEST_F(CheckpointTest, AFolderOfRevisionOneLoads) {
  const auto model = tiny_llama();
  factorize(*model, 5);
  save(model);
  nlohmann::ordered_json old = {{"revision", 1}, {"base_model", ""}};
  for (const auto& slot : read_checkpoint_meta(checkpoint_).linears) {
    old["linears"].push_back({{"path", slot.path}, {"kind", "svd"}, {"rank", 5}});
  }
  folder_.file("checkpoint/lowbank.json", old.dump());
  const auto ids = random_ids(1, 4);
  EXPECT_TRUE(at::equal(load_model(checkpoint_).model->forward(ids), model->forward(ids)));
}

TEST_F(CheckpointTest, NamesInFilesDoNotShowWrappersAndAdaptersAreApart) {
  const auto model = tiny_llama();
  const auto names = [](const NamedTensors& parameters) {
    std::set<std::string> out;
    for (const auto& [name, tensor] : parameters) out.insert(name);
    return out;
  };
  const auto before = names(base_parameters(*model));
  EXPECT_TRUE(adapter_parameters(*model).empty());
  auto& slot = model->slots().front();
  slot.wrap([](auto base) { return std::make_shared<testing::ZeroAdapter>(std::move(base)); });
  EXPECT_EQ(names(base_parameters(*model)), before);
  EXPECT_EQ(names(adapter_parameters(*model)),
            (std::set<std::string>{slot.path() + ".a", slot.path() + ".b"}));
  save(model);
  EXPECT_NE(SafetensorsFile::open(weights_)->find(slot.path() + ".a"), nullptr);
  EXPECT_NE(SafetensorsFile::open(weights_)->find(kQuery), nullptr);
  EXPECT_THAT(error_of_load(), HasSubstr("layer '" + slot.path() +
                                         "' is of kind 'zero_adapter'; this Lowbank knows dense"));
}

TEST_F(CheckpointTest, ShardsAreReadThroughTheirIndex) {
  const auto model = tiny_llama();
  save(model);
  nlohmann::ordered_json index = {{"metadata", {{"total_size", 1}}}};
  auto tensors = read_tensors(weights_);
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  const std::map<std::string, torch::Tensor> embedding = {
      {"model.embed_tokens.weight", tensors.at("model.embed_tokens.weight")}};
  for (const auto& [name, tensor] : tensors) {
    index["weight_map"][name] = embedding.contains(name) ? first : second;
  }
  tensors.erase("model.embed_tokens.weight");
  write_tensors(checkpoint_ + "/" + first, embedding);
  write_tensors(checkpoint_ + "/" + second, tensors);
  fs::remove(weights_);
  const auto write_index = [&] {
    folder_.file("checkpoint/model.safetensors.index.json", index.dump());
  };
  write_index();
  const auto ids = random_ids(1, 4);
  EXPECT_TRUE(at::equal(load_model(checkpoint_).model->forward(ids), model->forward(ids)));

  index["weight_map"]["model.norm.weight"] = first;
  write_index();
  EXPECT_THAT(error_of_load(), HasSubstr("model.norm.weight: is not in " + first));
}

TEST_F(CheckpointTest, MissingAndTruncatedFilesAreIoErrors) {
  EXPECT_THAT(error_of_load(), HasSubstr("there is no such folder"));
  save(tiny_llama());
  const auto bytes = read_bytes(weights_);
  folder_.file("checkpoint/model.safetensors", bytes.substr(0, bytes.size() - 1));
  EXPECT_THAT(error_of_load(), HasSubstr("is cut off"));
  fs::remove(weights_);
  EXPECT_THAT(error_of_load(), HasSubstr("neither model.safetensors nor"));
  folder_.file("checkpoint/config.json", "{\"model_type\": ");
  EXPECT_THAT(error_of_load(), HasSubstr("config.json"));
}

}  // namespace
}  // namespace lowbank
