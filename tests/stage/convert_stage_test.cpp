#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <sys/mount.h>
#include <sys/resource.h>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/value_stream.h"
#include "run_command.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::last_line;
using testing::run_command;
using ::testing::StartsWith;
using testing::TempFolder;

const std::string kStories = LOWBANK_SOURCE_DIR "/data/samples/stories260K/stories260K.bin";
const std::string kTokenizer = LOWBANK_SOURCE_DIR "/data/samples/stories260K/tok512.model";
const std::string kFixtures = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/";
const std::string kFolder = kFixtures + "llama_gqa_tied";

class ConvertStage : public ::testing::Test {
 protected:
  CommandResult convert(const std::string& source, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {source, target_, "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command("lowbank-convert", words);
  }
  /// Exit code, one line that says all of it, and nothing left behind.
  void expect_refusal(const CommandResult& result, int exit_code, const std::string& message) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, AllOf(StartsWith("lowbank convert: "), HasSubstr(message)));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(fs::exists(target_));
  }

  TempFolder folder_;
  std::string target_ = folder_.path("checkpoint");
};

TEST_F(ConvertStage, MakesACheckpointAsTransformersWritesIt) {
  const auto result = convert(kStories, {"--tokenizer", kTokenizer, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["num_params"], 260032);
  EXPECT_EQ(metrics["num_bytes"], 260032 * 4);
  EXPECT_EQ(metrics["num_tensors"], 47);
  const auto config = nlohmann::json::parse(read_bytes(target_ + "/config.json"));
  EXPECT_EQ(config["architectures"], nlohmann::json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["intermediate_size"], 172);
  EXPECT_EQ(config["num_key_value_heads"], 4);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["bos_token_id"], 1);
  EXPECT_EQ(read_bytes(target_ + "/tokenizer.model"), read_bytes(kTokenizer));
  EXPECT_EQ(SafetensorsFile::open(target_ + "/model.safetensors")->entries().size(), 47u);
  const auto meta = nlohmann::json::parse(read_bytes(target_ + "/lowbank.json"));
  EXPECT_EQ(meta["base_model"], "stories260K");
  EXPECT_EQ(meta["history"][0]["stage"], "convert");
  EXPECT_FALSE(fs::exists(target_ + "/.partial"));
}

TEST_F(ConvertStage, TheSameFileGivesTheSameBytes) {
  ASSERT_EQ(convert(kStories).exit_code, 0);
  const auto first = read_bytes(target_ + "/model.safetensors");
  ASSERT_EQ(convert(kStories).exit_code, 0);
  EXPECT_EQ(read_bytes(target_ + "/model.safetensors"), first);
}

TEST_F(ConvertStage, WarnsWhenThereIsNoTokenizer) {
  const auto result = convert(kStories);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("warning: no --tokenizer given"));
  EXPECT_FALSE(fs::exists(target_ + "/tokenizer.model"));
}

TEST_F(ConvertStage, AHuggingFaceFolderKeepsItsTensors) {
  const auto result = convert(kFolder);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto before = SafetensorsFile::open(kFolder + "/model.safetensors");
  const auto after = SafetensorsFile::open(target_ + "/model.safetensors");
  ASSERT_EQ(after->entries().size(), before->entries().size());
  for (const auto& entry : before->entries()) {
    const auto* const found = after->find(entry.name);
    ASSERT_NE(found, nullptr) << entry.name;
    const auto a = before->bytes(entry), b = after->bytes(*found);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << entry.name;
  }
  EXPECT_TRUE(fs::exists(target_ + "/lowbank.json"));
}

TEST_F(ConvertStage, ATruncatedFileLeavesNothing) {
  const std::string bytes = read_bytes(kStories);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, std::size_t{28}, std::size_t{500000}, bytes.size() - 1}) {
    const std::string cut = folder_.file("cut.bin", bytes.substr(0, size));
    expect_refusal(convert(cut, {"--tokenizer", kTokenizer}), 3,
                   "has " + std::to_string(size) + " bytes");
  }
  expect_refusal(convert(folder_.file("long.bin", bytes + "x")), 3, "longer");
}

TEST_F(ConvertStage, WhatIsMissingOrDamagedIsNamed) {
  expect_refusal(convert(folder_.path("absent.bin")), 3, "absent.bin");
  expect_refusal(convert(kStories, {"--tokenizer", folder_.path("absent.model")}), 3,
                 "absent.model");
  expect_refusal(convert(kStories, {"--tokenizer", kStories}), 3, "no sentencepiece model");
  fs::create_directory(folder_.path("empty"));
  expect_refusal(convert(folder_.path("empty")), 3, "config.json");
  std::string damaged = read_bytes(kStories);
  damaged.replace(5000, 4, "\xFF\xFF\xFF\xFF");  // not a number
  expect_refusal(convert(folder_.file("nan.bin", damaged)), 3, "embed_tokens");
}

TEST_F(ConvertStage, InputsThatDoNotFitTogetherAreUsageErrors) {
  std::string other = read_bytes(kStories);
  other[20] = 1;  // vocabulary 513, and the bytes of one more row
  other += std::string(64 * 4, '\0');
  expect_refusal(convert(folder_.file("513.bin", other), {"--tokenizer", kTokenizer}), 2,
                 "512 pieces");
  expect_refusal(convert(kFolder, {"--tokenizer", kTokenizer}), 2, "tokenizer");
}

TEST_F(ConvertStage, AnOutputBelowAFileIsRefused) {
  target_ = folder_.file("plain", "x") + "/checkpoint";
  expect_refusal(convert(kStories), 3, "plain");
  EXPECT_EQ(read_bytes(folder_.path("plain")), "x");
}

TEST_F(ConvertStage, ABadInputLeavesAnEarlierOutputUntouched) {
  ASSERT_EQ(convert(kStories, {"--tokenizer", kTokenizer}).exit_code, 0);
  const auto snapshot = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(target_)) {
      files[entry.path().filename().string()] = read_bytes(entry.path().string());
    }
    return files;
  };
  const auto before = snapshot();
  EXPECT_EQ(convert(folder_.file("cut.bin", "short")).exit_code, 3);
  EXPECT_EQ(snapshot(), before);
}

/// Tensors of an archive as float32, by name.
std::map<std::string, std::vector<float>> floats_of(const TensorArchive& archive) {
  std::map<std::string, std::vector<float>> out;
  for (const auto& entry : archive.entries()) {
    auto& values = out[entry.name];
    stream_values(archive, entry, ElementType::kF32, [&](std::span<const std::byte> piece) {
      const auto begin = values.size();
      values.resize(begin + piece.size() / sizeof(float));
      std::memcpy(&values[begin], piece.data(), piece.size());
    });
  }
  return out;
}

void expect_same_tensors(const std::string& folder, const std::string& expected_file) {
  const auto got = open_weights_folder(folder);
  const auto want = SafetensorsFile::open(expected_file);
  EXPECT_EQ(got->entries().size(), want->entries().size());
  for (const auto& entry : want->entries()) {
    const auto* const found = got->find(entry.name);
    ASSERT_NE(found, nullptr) << entry.name;
    EXPECT_EQ(found->shape, entry.shape) << entry.name;
    std::vector<std::byte> scratch;
    EXPECT_TRUE(std::ranges::equal(got->bytes(*found, scratch), want->bytes(entry))) << entry.name;
  }
}

TEST_F(ConvertStage, APyTorchBertWithOldNamesBecomesWhatTransformersHolds) {
  const auto result = convert(kFixtures + "old_bert", {"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_tensors(target_, kFixtures + "old_bert/expected.safetensors");
  const auto metrics = nlohmann::json::parse(last_line(result.out));
  EXPECT_EQ(metrics["missing"], (nlohmann::json{"classifier", "next-sentence head", "pooler"}));
  std::map<std::string, std::string> dropped;
  for (const auto& tensor : metrics["dropped"]) dropped[tensor["name"]] = tensor["reason"];
  EXPECT_EQ(dropped.size(), 3u);
  EXPECT_THAT(dropped["bert.embeddings.position_ids"], HasSubstr("buffer"));
  EXPECT_THAT(dropped["cls.predictions.decoder.weight"], HasSubstr("stored once"));
  EXPECT_THAT(result.err, HasSubstr("bert.embeddings.position_ids: a buffer"));
  EXPECT_TRUE(fs::exists(target_ + "/vocab.txt"));
}

TEST_F(ConvertStage, AnOriginalMambaInPyTorchShardsBecomesWhatTransformersHolds) {
  const auto result = convert(kFixtures + "old_mamba");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_tensors(target_, kFixtures + "old_mamba/expected.safetensors");
  const auto config = nlohmann::json::parse(read_bytes(target_ + "/config.json"));
  EXPECT_EQ(config["model_type"], "mamba");
  EXPECT_EQ(config["vocab_size"], 24);
}

TEST_F(ConvertStage, AModelGoesToGgufAndBackUnchanged) {
  for (const auto* name : {"llama_gqa_tied", "llama_bias_untied", "old_bert", "old_mamba"}) {
    const std::string folder = folder_.path(std::string(name) + "_folder");
    ASSERT_EQ(run_command("lowbank-convert", {kFixtures + name, folder}).exit_code, 0);
    const std::string gguf = folder_.path(std::string(name) + ".gguf");
    const auto there = run_command("lowbank-convert", {folder, gguf});
    ASSERT_EQ(there.exit_code, 0) << there.err;
    target_ = folder_.path(std::string(name) + "_back");
    const auto back = convert(gguf);
    ASSERT_EQ(back.exit_code, 0) << back.err;
    const auto before = floats_of(*open_weights_folder(folder));
    const auto after = floats_of(*open_weights_folder(target_));
    for (const auto& [tensor, values] : after) {
      const bool is_exponent = tensor.ends_with("A_log");  // log(exp(x)) in float32
      const auto bare = tensor;
      const auto found = before.contains(bare) ? before.find(bare) : before.find("bert." + bare);
      ASSERT_NE(found, before.end()) << tensor;
      ASSERT_EQ(values.size(), found->second.size()) << tensor;
      for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(values[i], found->second[i], is_exponent ? 1e-6 : 0.0) << tensor;
      }
    }
    const auto config_before = nlohmann::json::parse(read_bytes(folder + "/config.json"));
    const auto config_after = nlohmann::json::parse(read_bytes(target_ + "/config.json"));
    for (const auto* key : {"model_type", "hidden_size", "num_hidden_layers", "vocab_size"}) {
      EXPECT_EQ(config_before[key], config_after[key]) << name << " " << key;
    }
  }
}

TEST_F(ConvertStage, AGgufFileMayLieInARunFolder) {
  for (int i = 0; i < 2; ++i) {  // a second time over the first
    const auto result = convert(kFolder, {"--to", "gguf"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    for (const char* name : {"model.gguf", "resolved.json", "run.json"}) {
      EXPECT_TRUE(fs::exists(target_ + "/" + name)) << name;
    }
  }
}

TEST_F(ConvertStage, QuantisedGgufFilesKeepVectorsInFloat32) {
  const std::string gguf = folder_.path("model.gguf");
  const auto result = run_command("lowbank-convert", {kFolder, gguf, "--dtype", "q8_0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto file = GgufFile::open(gguf);
  EXPECT_EQ(file->integer("general.file_type"), 7);
  const auto before = floats_of(*open_weights_folder(kFolder));
  const auto after = floats_of(*file);
  for (const auto& entry : file->entries()) {
    const bool is_vector = entry.shape.size() == 1;
    EXPECT_EQ(entry.type, is_vector                      ? ElementType::kF32
                          : entry.shape.back() % 32 == 0 ? ElementType::kQ80
                                                         : ElementType::kF16)
        << entry.name;
  }
  const auto& embedding = before.at("model.embed_tokens.weight");
  const auto& quantised = after.at("token_embd.weight");
  float largest = 0;
  for (const float value : embedding) largest = std::max(largest, std::fabs(value));
  for (std::size_t i = 0; i < embedding.size(); ++i) {
    // Half a step of the coarsest block, and the scale's own rounding to float16.
    EXPECT_NEAR(quantised[i], embedding[i], largest / 127 * 0.51);
  }
}

TEST_F(ConvertStage, LargeWeightsAreCutIntoShardsThatReadAsOne) {
  const auto result = convert(kFolder, {"--max-shard-bytes", "20000"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(target_ + "/model.safetensors"));
  EXPECT_TRUE(fs::exists(target_ + "/model.safetensors.index.json"));
  expect_same_tensors(target_, kFolder + "/model.safetensors");
  // A second conversion into the same folder leaves no shard of the first.
  ASSERT_EQ(convert(kFolder).exit_code, 0);
  EXPECT_FALSE(fs::exists(target_ + "/model.safetensors.index.json"));
  for (const auto& entry : fs::directory_iterator(target_)) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr("-of-")));
  }
}

TEST_F(ConvertStage, ADtypeRoundsAndConfigJsonSaysSo) {
  ASSERT_EQ(convert(kFolder, {"--dtype", "bf16"}).exit_code, 0);
  const auto archive = open_weights_folder(target_);
  for (const auto& entry : archive->entries()) EXPECT_EQ(entry.type, ElementType::kBf16);
  const auto config = nlohmann::json::parse(read_bytes(target_ + "/config.json"));
  EXPECT_EQ(config.value("dtype", config.value("torch_dtype", "")), "bfloat16");
}

TEST_F(ConvertStage, FactoredLayersStayFactoredAndHaveNoPlaceInGguf) {
  const std::string half = folder_.path("half");
  ASSERT_EQ(run_command("lowbank-compress", {kFolder, half, "--rank", "fixed:4"}).exit_code, 0);
  const auto result = convert(half);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_tensors(target_, half + "/model.safetensors");
  EXPECT_EQ(nlohmann::json::parse(read_bytes(target_ + "/lowbank.json"))["linears"],
            nlohmann::json::parse(read_bytes(half + "/lowbank.json"))["linears"]);
  target_ = folder_.path("x.gguf");
  expect_refusal(convert(half), 2, "--to dense");
}

TEST_F(ConvertStage, TensorsThatDoNotFitAreAllNamed) {
  const std::string folder = folder_.path("bad");
  fs::copy(kFolder, folder);
  std::vector<float> zeros(4096);
  const auto bytes = std::as_bytes(std::span(zeros));
  write_safetensors(folder + "/model.safetensors",
                    {{"model.norm.weight", ElementType::kF32, {3}, bytes.first(12)},
                     {"model.extra.weight", ElementType::kF32, {2}, bytes.first(8)}});
  const auto result = convert(folder);
  EXPECT_THAT(result.err, AllOf(HasSubstr("'model.norm.weight' is [3], config.json wants"),
                                HasSubstr("'model.embed_tokens.weight'"), HasSubstr("is missing"),
                                HasSubstr("and perhaps more")));
  EXPECT_EQ(result.exit_code, 3);
}

TEST_F(ConvertStage, WhatAFormCannotDoIsAUsageError) {
  expect_refusal(convert(kFolder + "/model.safetensors"), 2, "holds weights alone");
  expect_refusal(convert(kFixtures + "old_bert/pytorch_model.bin"), 2, "holds weights alone");
  expect_refusal(convert(kFolder, {"--dtype", "q4_0"}), 2, "dtype: q4_0 is for GGUF files");
  const std::string other = target_;
  target_ = folder_.path("x.gguf");
  expect_refusal(convert(kFolder, {"--to", "lowbank"}), 2, "to: lowbank writes a folder");
  fs::create_directories(folder_.path("adapter"));
  folder_.file("adapter/adapter_config.json", "{}");
  target_ = other;
  expect_refusal(convert(folder_.path("adapter")), 2, "adapter folder");
}

/// A file system of 200 KiB, while the object lives; where mounting is not permitted, is_mounted()
/// is false.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    fs::create_directories(path_);
    mounted_ = ::mount("none", path_.c_str(), "tmpfs", 0, "size=200k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount(path_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool is_mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST_F(ConvertStage, ADiskThatFillsLeavesTheEarlierOutputUntouched) {
  const SmallDisk disk(folder_.path("disk"));
  if (!disk.is_mounted()) GTEST_SKIP() << "mounting a small tmpfs is not permitted here";
  target_ = folder_.path("disk/checkpoint");
  ASSERT_EQ(convert(kFolder).exit_code, 0);
  const auto snapshot = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path("disk"))) {
      if (entry.is_regular_file()) files[entry.path().string()] = read_bytes(entry.path().string());
    }
    return files;
  };
  const auto before = snapshot();
  for (const std::string& target : {target_, target_ + ".gguf"}) {
    const auto result = run_command("lowbank-convert", {kStories, target});
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("No space left on device"));
    EXPECT_EQ(snapshot(), before);
  }
}

TEST_F(ConvertStage, AFileSizeLimitIsAnErrorAndNotTheEndOfTheProcess) {
  rlimit unlimited{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const rlimit limited = {.rlim_cur = 100'000, .rlim_max = unlimited.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  const auto folder = convert(kStories);
  const auto gguf = convert(kStories, {"--to", "gguf"});
  setrlimit(RLIMIT_FSIZE, &unlimited);
  expect_refusal(folder, 3, "File too large");
  expect_refusal(gguf, 3, "File too large");
}

}  // namespace
}  // namespace lowbank
