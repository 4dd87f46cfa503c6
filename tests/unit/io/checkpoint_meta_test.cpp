#include "io/checkpoint_meta.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/text.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_text;
using ::testing::HasSubstr;
using testing::TempFolder;

TEST(CheckpointMetaTest, WhatIsWrittenReadsBack) {
  const TempFolder folder;
  CheckpointMeta meta;
  meta.base_model = "stories260K";
  meta.linears = {{.path = "model.layers.0.self_attn.q_proj",
                   .layers = {{.kind = "svd", .settings = {{"rank", 32L}}},
                              {.kind = "lora",
                               .settings = {{"alpha", 0.5},
                                            {"ranks", std::vector<std::int64_t>{2, 3}},
                                            {"scaling", std::string("rslora")},
                                            {"trained", true}}}}}};
  meta.history = {{.stage = "convert", .settings_hash = "ab", .version = "0.1.0"},
                  {.stage = "compress", .settings_hash = "cd", .version = "0.1.0"}};
  write_checkpoint_meta(folder.path(), meta);
  const CheckpointMeta back = read_checkpoint_meta(folder.path());
  EXPECT_EQ(back.base_model, "stories260K");
  ASSERT_EQ(back.linears.size(), 1u);
  EXPECT_EQ(back.linears[0].path, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(back.linears[0].layers, meta.linears[0].layers);
  ASSERT_EQ(back.history.size(), 2u);
  EXPECT_EQ(back.history[1].stage, "compress");
  EXPECT_EQ(back.history[1].settings_hash, "cd");
  EXPECT_EQ(back.history[1].version, "0.1.0");
}

TEST(CheckpointMetaTest, APlainHuggingFaceFolderHasAnEmptyRecord) {
  const TempFolder folder;
  const CheckpointMeta meta = read_checkpoint_meta(folder.path());
  EXPECT_TRUE(meta.base_model.empty());
  EXPECT_TRUE(meta.linears.empty());
  EXPECT_TRUE(meta.history.empty());
}

TEST(CheckpointMetaTest, ACorruptRecordIsNamedWithThePlace) {
  const TempFolder folder;
  const auto read_error = [&](const std::string& text) {
    folder.file("lowbank.json", text);
    return error_text<IoError>([&] { read_checkpoint_meta(folder.path()); });
  };
  EXPECT_EQ(read_error(R"({"revision": 2, "base_model": "m"})"), "no error");
  EXPECT_THAT(read_error("{"), HasSubstr("lowbank.json: parse error"));
  EXPECT_THAT(read_error("[]"), HasSubstr("lowbank.json: must be a JSON object"));
  EXPECT_THAT(read_error(R"({"base_model": "m"})"), HasSubstr("key 'revision' is missing"));
  EXPECT_THAT(read_error(R"({"revision": 1})"), HasSubstr("key 'base_model' is missing"));
  EXPECT_THAT(read_error(R"({"revision": 1, "base_model": "m", "linears": 3})"),
              HasSubstr("linears: must be a list; got 3"));
  EXPECT_THAT(read_error(R"({"revision": 1, "base_model": "m",
                     "linears": [{"path": "p", "kind": "svd", "rank": -1}]})"),
              HasSubstr("linears[0].rank: must be a whole number >= 0; got -1"));
  const auto slot_error = [&](const std::string& layers) {
    return read_error(R"({"revision": 2, "base_model": "m", "linears": [{"path": "p", "layers": )" +
                      layers + "}]}");
  };
  EXPECT_EQ(slot_error(R"([{"kind": "svd", "rank": 3}])"), "no error");
  EXPECT_THAT(slot_error("[]"), HasSubstr("linears[0]: 'layers' must hold at least one layer"));
  EXPECT_THAT(slot_error("[3]"), HasSubstr("linears[0].layers[0]: must be a JSON object"));
  EXPECT_THAT(slot_error(R"([{"rank": 3}])"), HasSubstr("key 'kind' is missing"));
  EXPECT_THAT(slot_error(R"([{"kind": "svd", "rank": {}}])"),
              HasSubstr("layers[0].rank: must be a number, a word or a list of whole numbers"));
  EXPECT_THAT(read_error(R"({"revision": 1, "base_model": "m", "history": [3]})"),
              HasSubstr("history[0]: must be a JSON object; got 3"));
}

TEST(CheckpointMetaTest, RevisionOneHadOneFactoredLayerASlot) {
  const TempFolder folder;
  folder.file("lowbank.json", R"({"revision": 1, "base_model": "m", "linears": [
      {"path": "a.q_proj", "kind": "svd", "rank": 32}], "history": []})");
  const auto meta = read_checkpoint_meta(folder.path());
  ASSERT_EQ(meta.linears.size(), 1u);
  EXPECT_EQ(meta.linears[0].path, "a.q_proj");
  const LayerRecord expected{.kind = "svd", .settings = {{"rank", 32L}}};
  EXPECT_EQ(meta.linears[0].layers, std::vector{expected});
}

TEST(CheckpointMetaTest, ANewerRevisionIsRefused) {
  const TempFolder folder;
  folder.file("lowbank.json", R"({"revision": 3, "base_model": "m"})");
  EXPECT_THAT(error_text<IoError>([&] { read_checkpoint_meta(folder.path()); }),
              AllOf(HasSubstr("revision 3"), HasSubstr("reads up to 2")));
}

TEST(CheckpointMetaTest, ACheckpointIsAFolderWithAConfigOrARunThatHoldsOne) {
  const TempFolder folder;
  fs::create_directories(folder.path("run/checkpoint"));
  folder.file("run/checkpoint/config.json", "{}");
  EXPECT_EQ(resolve_checkpoint(folder.path("run/checkpoint")), folder.path("run/checkpoint"));
  EXPECT_EQ(resolve_checkpoint(folder.path("run")), folder.path("run/checkpoint"));
  const auto resolve_error = [&](const std::string& path) {
    return error_text<IoError>([&] { resolve_checkpoint(path); });
  };
  EXPECT_THAT(resolve_error(folder.path("none")), HasSubstr("there is no such folder"));
  EXPECT_THAT(resolve_error(folder.path("run/checkpoint/config.json")), HasSubstr("is a file"));
  EXPECT_THAT(resolve_error(folder.path()), HasSubstr("is no checkpoint"));
}

TEST(CheckpointMetaTest, SideFilesAreCopiedAndNothingElse) {
  const TempFolder from;
  const TempFolder to;
  for (const auto* name : {"tokenizer.model", "tokenizer.json", "added_tokens.json",
                           "generation_config.json", "LICENSE", "LICENSE.txt", "NOTICE.md"}) {
    from.file(name, name);
  }
  for (const auto* name : {"config.json", "model.safetensors", "lowbank.json", "README.md"}) {
    from.file(name, name);
  }
  fs::create_directory(from.path("LICENSES"));
  copy_side_files(from.path(), to.path());
  EXPECT_EQ(read_bytes(to.path("tokenizer.model")), "tokenizer.model");
  EXPECT_EQ(read_bytes(to.path("LICENSE.txt")), "LICENSE.txt");
  EXPECT_EQ(std::distance(fs::directory_iterator(to.path()), fs::directory_iterator()), 7);
  EXPECT_NO_THROW(copy_side_files(from.path(), from.path() + "/."));
  EXPECT_THROW(copy_side_files(from.path("none"), to.path()), IoError);
}

TEST(CheckpointMetaTest, ALinkIsCopiedWithAWord) {
  const TempFolder folder;
  fs::create_directory(folder.path("from"));
  folder.file("elsewhere", "terms");
  folder.file("from/vocab.txt", "a");
  fs::create_symlink(folder.path("elsewhere"), folder.path("from/LICENSE"));
  ::testing::internal::CaptureStderr();
  copy_side_files(folder.path("from"), folder.path());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            folder.path("from") + ": LICENSE is a link; what it points to is copied\n");
  EXPECT_FALSE(fs::is_symlink(folder.path("LICENSE")));
  EXPECT_EQ(read_bytes(folder.path("LICENSE")), "terms");
}

TEST(CheckpointMetaTest, MetasOriginalFolderIsToldWithWhatToDo) {
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"params.json", "consolidated.00.pth"},
        {"params.json"},
        {"consolidated.safetensors"}}) {
    const TempFolder folder;
    fs::create_directories(folder.path("meta"));
    for (const auto& name : names) folder.file("meta/" + name, "{}");
    EXPECT_THAT(error_text<ConfigError>([&] { resolve_checkpoint(folder.path("meta")); }),
                ::testing::AllOf(::testing::HasSubstr("is a model in Meta's original form"),
                                 ::testing::HasSubstr("convert_llama_weights_to_hf --input_dir")));
    folder.file("meta/config.json", "{}");  // a folder with both forms
    EXPECT_EQ(resolve_checkpoint(folder.path("meta")), folder.path("meta"));
  }
  const TempFolder empty;
  EXPECT_EQ(foreign_folder_hint(empty.path()), std::nullopt);
  EXPECT_EQ(foreign_folder_hint(empty.path("absent")), std::nullopt);
}

}  // namespace
}  // namespace lowbank
