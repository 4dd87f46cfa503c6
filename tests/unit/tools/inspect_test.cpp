#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "error_text.h"
#include "io/checkpoint_meta.h"
#include "io/safetensors.h"
#include "run_command.h"
#include "stages/inspect_stage.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;

class InspectTest : public ::testing::Test {
 protected:
  InspectTest() {
    fs::create_directories(folder.path("run/checkpoint"));
    folder.file("run/checkpoint/config.json", R"({"model_type": "llama", "hidden_size": 6})");
    add("model.embed_tokens.weight", {10, 6});
    add("model.norm.weight", {6});
    add("model.layers.10.mlp.up_proj.weight", {8, 6});
    add("model.layers.2.mlp.up_proj.u", {8, 3});
    add("model.layers.2.mlp.up_proj.s", {3});
    add("model.layers.2.mlp.up_proj.vh", {3, 6});
    add("model.layers.2.mlp.up_proj.bias", {8});
    add("lm_head.weight", {10, 6});
    write_safetensors(folder.path("run/checkpoint/model.safetensors"), tensors_);
    write_checkpoint_meta(
        folder.path("run/checkpoint"),
        {.base_model = "tiny",
         .linears = {{.path = "model.layers.2.mlp.up_proj",
                      .layers = {{.kind = "svd", .settings = {{"rank", std::int64_t{3}}}}}}},
         .history = {{.stage = "compress", .settings_hash = "0123abcd", .version = "0.1.0"}}});
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t size_bytes = 4;
    for (const auto length : shape) size_bytes *= static_cast<std::size_t>(length);
    tensors_.push_back({name, ElementType::kF32, shape, std::span(zeros_).first(size_bytes)});
  }
  testing::TempFolder folder;
  std::vector<std::byte> zeros_ = std::vector<std::byte>(4096);
  std::vector<TensorToWrite> tensors_;
};

TEST_F(InspectTest, LinearsAreMatricesThatAreNoEmbeddingsInTheOrderOfTheLayers) {
  const auto archive = open_weights_folder(folder.path("run/checkpoint"));
  const auto linears = find_linears(archive->entries());
  ASSERT_EQ(linears.size(), 3u);
  EXPECT_EQ(linears[0].path, "lm_head");
  EXPECT_EQ(linears[1].path, "model.layers.2.mlp.up_proj");
  EXPECT_EQ(linears[1].kind, "svd");
  EXPECT_EQ(linears[1].out_features, 8);
  EXPECT_EQ(linears[1].in_features, 6);
  EXPECT_EQ(linears[1].rank, 3);
  EXPECT_EQ(linears[1].num_params, 8 * 3 + 3 + 3 * 6 + 8);
  EXPECT_EQ(linears[1].size_bytes, 4 * linears[1].num_params);
  EXPECT_EQ(linears[2].path, "model.layers.10.mlp.up_proj");
  EXPECT_EQ(linears[2].kind, "dense");
  EXPECT_EQ(linears[2].rank, 6);
  EXPECT_EQ(linears[2].num_params, 48);
}

TEST_F(InspectTest, LayersHaveTheKindsThatTheRecordNames) {
  add("model.layers.10.mlp.up_proj.gain", {8});
  add("model.layers.11.mlp.up_proj.codes", {8, 3});
  write_safetensors(folder.path("stack.safetensors"), tensors_);
  const auto file = SafetensorsFile::open(folder.path("stack.safetensors"));
  const std::vector<SlotRecord> slots = {
      {.path = "model.layers.10.mlp.up_proj", .layers = {{.kind = "dense"}, {.kind = "gain"}}},
      {.path = "model.layers.11.mlp.up_proj", .layers = {{.kind = "codes"}}}};
  const auto linears = find_linears(file->entries(), slots);
  ASSERT_EQ(linears.size(), 4u);
  EXPECT_EQ(linears[1].kind, "svd");
  EXPECT_EQ(linears[2].kind, "dense+gain");
  EXPECT_EQ(linears[2].out_features, 8);
  EXPECT_EQ(linears[2].num_params, 48 + 8);
  EXPECT_EQ(linears[2].size_bytes, 4 * (48 + 8));
  EXPECT_EQ(linears[3].kind, "codes");
  EXPECT_EQ(linears[3].num_params, 24);
}

TEST_F(InspectTest, FactorsThatDoNotFitTogetherAreNoLinear) {
  tensors_.clear();
  add("a.u", {8, 3});
  add("a.s", {2});
  add("a.vh", {3, 6});
  add("b.vh", {3, 6});
  write_safetensors(folder.path("odd.safetensors"), tensors_);
  const auto file = SafetensorsFile::open(folder.path("odd.safetensors"));
  EXPECT_TRUE(find_linears(file->entries()).empty());
}

TEST_F(InspectTest, JsonHasTheFiguresOfTheCheckpoint) {
  for (const auto* path : {"run", "run/checkpoint"}) {
    const auto result = run_command("lowbank-inspect", {folder.path(path), "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto json = nlohmann::json::parse(last_line(result.out));
    EXPECT_EQ(json["model_type"], "llama");
    EXPECT_EQ(json["num_params"], 60 + 6 + 48 + 53 + 60);
    EXPECT_EQ(json["num_bytes"], 4 * (60 + 6 + 48 + 53 + 60));
    ASSERT_EQ(json["linears"].size(), 3u);
    EXPECT_EQ(json["linears"][1], (nlohmann::json{{"path", "model.layers.2.mlp.up_proj"},
                                                  {"kind", "svd"},
                                                  {"out", 8},
                                                  {"in", 6},
                                                  {"rank", 3},
                                                  {"num_params", 53}}));
  }
}

TEST_F(InspectTest, TablesAreShownWhenAskedFor) {
  const auto plain = run_command("lowbank-inspect", {folder.path("run")});
  EXPECT_THAT(plain.out, HasSubstr("parameters  227 in 8 tensors (F32)"));
  EXPECT_THAT(plain.out, HasSubstr("base model  tiny"));
  EXPECT_THAT(plain.out, HasSubstr("linears     2 dense, 1 svd of rank 3"));
  EXPECT_THAT(plain.out, ::testing::Not(HasSubstr("mlp.up_proj")));
  const auto full = run_command("lowbank-inspect", {folder.path("run"), "--linears", "--history"});
  EXPECT_THAT(full.out,
              HasSubstr("model.layers.2.mlp.up_proj   svd      8   6     3          53    212"));
  EXPECT_THAT(full.out, HasSubstr("compress  0.1.0    0123abcd"));
}

TEST_F(InspectTest, ASingleFileShowsItsTensors) {
  const auto result =
      run_command("lowbank-inspect", {folder.path("run/checkpoint/model.safetensors"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("model.layers.2.mlp.up_proj.vh"));
  EXPECT_THAT(result.err, HasSubstr("[3, 6]"));
  EXPECT_EQ(nlohmann::json::parse(last_line(result.out))["num_params"], 227);
}

TEST_F(InspectTest, WhatIsNoCheckpointIsOneLineAndExitCode3) {
  for (const auto& path : {folder.path("none"), folder.path(), folder.file("x.bin", "123")}) {
    const auto result = run_command("lowbank-inspect", {path});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_THAT(result.err, ::testing::StartsWith("lowbank inspect: " + path));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
  }
  folder.file("run/checkpoint/config.json", "{}");
  EXPECT_THAT(run_command("lowbank-inspect", {folder.path("run")}).err,
              HasSubstr("key 'model_type' is missing"));
}

}  // namespace
}  // namespace lowbank
