#include <cstdlib>
#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "error_text.h"
#include "temp_folder.h"
#include "tokenizers/sentencepiece_tokenizer.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/tokenizer_files.h"

// Folders as users have them: a vocabulary and the files next to it, against transformers'
// AutoTokenizer.

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int64_t>;
using testing::TempFolder;

const std::string kSource = LOWBANK_SOURCE_DIR;
const std::string kFolders = kSource + "/tests/parity/fixtures/tokenizers/folders.jsonl";
const std::string kCases = kSource + "/tests/parity/fixtures/cases/";
const std::string kSentencepieceFile = kSource + "/data/samples/stories260K/tok512.model";

std::string decode_base64(const std::string& text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes.push_back(static_cast<char>(bits >> num_bits & 0xFFu));
  }
  return bytes;
}

void write_files(const Json& files, const TempFolder& folder) {
  for (const auto& [name, content] : files.items()) {
    if (content.is_string()) {
      folder.file(name, content.get<std::string>());
    } else if (content.contains("base64")) {
      folder.file(name, decode_base64(content["base64"].get<std::string>()));
    } else {
      folder.file(name, content.dump());
    }
  }
}

Ids ids_in_parts(const Tokenizer& tokenizer, const std::string& text, std::size_t part_bytes) {
  IdList list;
  TokenWriter writer(list, /*with_ends=*/false);
  encode_text(tokenizer, text, /*add_special=*/true, writer, part_bytes);
  Ids ids(list.size());
  list.copy(0, ids);
  return ids;
}

class TokenizerFolderParity : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string content = read_text(kFolders);
    for (const auto line : split_lines(content)) lines_.push_back(parse_json(line, kFolders));
    ASSERT_EQ(lines_.at(0).value("version", 0), 1)
        << "run tests/parity/make_tokenizer_folder_fixture.py";
    texts_ = lines_.at(1)["texts"].get<std::vector<std::string>>();
  }
  /// Calls `check(line, tokenizer)` for every folder.
  template <class Check>
  void for_each_folder(Check check) {
    for (std::size_t i = 3; i < lines_.size(); ++i) {
      const Json& line = lines_[i];
      const TempFolder folder;
      write_files(lines_[2]["vocabularies"][line["vocabulary"].get<std::string>()], folder);
      write_files(line["files"], folder);
      SCOPED_TRACE(line["name"].get<std::string>());
      check(line, *open_tokenizer(folder.path(), {.gives_ids_without_rows = true}));
    }
  }

  std::vector<Json> lines_;
  std::vector<std::string> texts_;
};

TEST_F(TokenizerFolderParity, EveryFolderGivesTheIdsAndTextsOfAutoTokenizer) {
  ASSERT_GE(lines_.size(), 200u);
  for_each_folder([&](const Json& line, const Tokenizer& tokenizer) {
    for (std::size_t k = 0; k < texts_.size(); ++k) {
      const auto ids = line["ids"][k].get<Ids>();
      EXPECT_EQ(tokenizer.encode(texts_[k]), ids) << texts_[k];
      const Json& text = line["text"][k];
      EXPECT_EQ(tokenizer.decode(ids), text.is_null() ? texts_[k] : text.get<std::string>());
    }
    EXPECT_EQ(tokenizer.encode(texts_[2], /*add_special=*/true), line["special"].get<Ids>());
  });
}

TEST_F(TokenizerFolderParity, TextsInPartsHaveTheIdsOfTheWhole) {
  std::string text;
  for (int i = 0; i < 2; ++i) {
    for (const auto& one : texts_) text += one + " and then Tim ran ";
  }
  int num_cut = 0;
  for_each_folder([&](const Json&, const Tokenizer& tokenizer) {
    num_cut += tokenizer.find_cut(text) > 0 ? 1 : 0;
    EXPECT_EQ(ids_in_parts(tokenizer, text, 24), ids_in_parts(tokenizer, text, text.size()));
  });
  EXPECT_GE(num_cut, 60);  // or nothing was tested
}

TEST_F(TokenizerFolderParity, OffsetsRiseToTheEndOfTheText) {
  for_each_folder([&](const Json&, const Tokenizer& tokenizer) {
    for (const auto& text : texts_) {
      const auto encoding = tokenizer.encode_with_offsets(text);
      EXPECT_EQ(encoding.ids, tokenizer.encode(text));
      std::int64_t begin = 0;
      for (const auto end : encoding.ends) {
        EXPECT_LE(begin, end);
        begin = end;
      }
      if (encoding.ids.empty()) continue;
      EXPECT_EQ(begin, static_cast<std::int64_t>(text.size())) << text;
    }
  });
}

// The cases of public bug reports (see the README of the cases).
TEST(TokenizerFolder, GivesTheIdsOfTheReportedCases) {
  namespace fs = std::filesystem;
  int num_cases = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kCases)) {
    if (entry.path().filename() != "expected.json") continue;
    const fs::path from = entry.path().parent_path();
    const Json expected = read_json(entry.path().string());
    if (!expected.contains("ids") && !expected.contains("ids_plain")) continue;
    const bool is_sentencepiece = fs::exists(from / "folder");
    if (!is_sentencepiece && !fs::exists(from / "tokenizer.json")) continue;
    SCOPED_TRACE(from.string());
    const TempFolder folder;
    fs::copy(is_sentencepiece ? from / "folder" : from, folder.path(), fs::copy_options::recursive);
    if (is_sentencepiece) folder.file("tokenizer.model", read_bytes(kSentencepieceFile));
    const auto tokenizer = open_tokenizer(folder.path());
    const std::string content = read_text((from / "texts.jsonl").string());
    std::size_t k = 0;
    for (const auto line : split_lines(content)) {
      const auto text = parse_json(line, "texts.jsonl")["text"].get<std::string>();
      const Json& plain = expected.contains("ids") ? expected["ids"] : expected["ids_plain"];
      EXPECT_EQ(tokenizer->encode(text), plain.at(k).get<Ids>());
      if (expected.contains("ids_special")) {
        EXPECT_EQ(tokenizer->encode(text, true), expected["ids_special"].at(k).get<Ids>());
      }
      ++k;
    }
    if (is_sentencepiece) {
      EXPECT_EQ(tokenizer->eos_id(), 514);
      EXPECT_EQ(tokenizer->special_ids().pad, 512);
      EXPECT_EQ(tokenizer->vocab_size(), 515);
    }
    ++num_cases;
  }
  EXPECT_EQ(num_cases, 6);
}

// What `convert` writes into a GGUF file of the folder.
TEST(TokenizerFolder, GgufKeysHaveTheAddedTokens) {
  for (const char* name : {"added_tokens_decoder", "added_tokens_json"}) {
    const std::string from = kCases + "P01_sp_added_tokens/" + name;
    TokenizerFiles files = {{"tokenizer.model", read_bytes(kSentencepieceFile)}};
    for (const char* file :
         {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
      const std::string path = from + "/folder/" + file;
      if (std::filesystem::exists(path)) files[file] = read_text(path);
    }
    const Json config = read_json(from + "/folder/config.json");
    const Json expected = read_json(from + "/expected.json")["gguf"];
    std::vector<std::string> tokens;
    std::vector<std::int32_t> kinds;
    std::map<std::string, std::uint32_t> ids;
    for (const auto& [key, value] : gguf_tokenizer_keys(files, config, "folder")) {
      if (key == "tokenizer.ggml.tokens") tokens = std::get<std::vector<std::string>>(value);
      if (key == "tokenizer.ggml.token_type") kinds = std::get<std::vector<std::int32_t>>(value);
      if (key.ends_with("_token_id")) ids[key] = std::get<std::uint32_t>(value);
    }
    ASSERT_EQ(tokens.size(), 515u);
    EXPECT_EQ(std::vector(tokens.begin() + 512, tokens.end()),
              expected["tokens_512_to_514"].get<std::vector<std::string>>());
    const bool is_start_special = name == std::string("added_tokens_decoder");
    EXPECT_EQ(std::vector(kinds.begin() + 512, kinds.end()),
              (std::vector<std::int32_t>{3, is_start_special ? 3 : 4, 3}));
    EXPECT_EQ(ids["tokenizer.ggml.eos_token_id"], expected["eos_token_id"].get<std::uint32_t>());
    EXPECT_EQ(ids["tokenizer.ggml.padding_token_id"],
              expected["padding_token_id"].get<std::uint32_t>());
  }
}

TEST(TokenizerFolder, ATokenWithoutARowInTheModelIsLeftOutOfAGgufFile) {
  const TokenizerFiles files = {
      {"tokenizer.model", read_bytes(kSentencepieceFile)},
      {"tokenizer_config.json", R"({"pad_token": "<pad>", "eos_token": "</s>"})"}};
  ::testing::internal::CaptureStderr();
  const auto keys = gguf_tokenizer_keys(files, Json{{"vocab_size", 512}}, "folder");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("<pad> has id 512"));
  for (const auto& [key, value] : keys) {
    if (key != "tokenizer.ggml.tokens") continue;
    EXPECT_EQ(std::get<std::vector<std::string>>(value).size(), 512u);
  }
}

TEST(TokenizerFolder, ATokenWithoutARowInTheModelIsAnErrorOnlyWhereATextHasIt) {
  const TempFolder folder;
  folder.file("tokenizer.model", read_bytes(kSentencepieceFile));
  folder.file("config.json", R"({"model_type": "llama", "vocab_size": 512})");
  folder.file("tokenizer_config.json", R"({"pad_token": "<pad>"})");
  const auto tokenizer = open_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  EXPECT_EQ(tokenizer->special_ids().pad, std::nullopt);
  EXPECT_EQ(tokenizer->encode("Tim"), (Ids{326}));
  EXPECT_THAT(testing::error_text<ConfigError>([&] { tokenizer->encode("Tim<pad>"); }),
              ::testing::HasSubstr("'<pad>' with id 512, but the model has only 512 rows"));
  const auto all = open_tokenizer(folder.path(), {.gives_ids_without_rows = true});
  EXPECT_EQ(all->encode("Tim<pad>"), (Ids{326, 512}));
  EXPECT_EQ(all->special_ids().pad, 512);
}

TEST(TokenizerFolder, TheRawReadingIsThatOfTheLibrary) {
  const TempFolder folder;
  folder.file("tokenizer.model", read_bytes(kSentencepieceFile));
  folder.file("tokenizer.json", "not read");
  folder.file("tokenizer_config.json",
              R"({"tokenizer_class": "LlamaTokenizer", "pad_token": "<pad>",
                                           "add_prefix_space": false})");
  const auto raw = open_tokenizer(folder.path(), {.is_sentencepiece_raw = true});
  const SentencepieceTokenizer library(read_bytes(kSentencepieceFile), "library");
  for (const char* text : {"Tim  ran ", "<s>Tim<pad>", "the <unk> said", " Once"}) {
    EXPECT_EQ(raw->encode(text, true), library.encode(text, true));
  }
  std::filesystem::remove(folder.path("tokenizer.json"));
  const auto read = open_tokenizer(folder.path());
  EXPECT_EQ(read->encode("<unk>"), (Ids{0}));
  EXPECT_NE(raw->encode("<unk>"), (Ids{0}));
}

TEST(TokenizerFolder, AModelWithoutAClassIsReadByItself) {
  const TempFolder folder;
  folder.file("tokenizer.model", read_bytes(kSentencepieceFile));
  const SentencepieceTokenizer library(read_bytes(kSentencepieceFile), "library");
  EXPECT_EQ(open_tokenizer(folder.path())->encode("Tim  <unk>"), library.encode("Tim  <unk>"));
  folder.file("config.json", R"({"model_type": "llama"})");
  EXPECT_EQ(open_tokenizer(folder.path())->encode("<unk>"), (Ids{0}));
}

TEST(TokenizerFolder, NamesFileAndKeyOfASettingThatCannotBeHonoured) {
  const TempFolder folder;
  const auto error = [&](const std::string& settings) {
    folder.file("tokenizer_config.json", settings);
    return testing::error_text<ConfigError>([&] { open_tokenizer(folder.path()); });
  };
  folder.file("tokenizer.model", read_bytes(kSentencepieceFile));
  EXPECT_THAT(error(R"({"tokenizer_class": "T5Tokenizer"})"),
              ::testing::AllOf(::testing::HasSubstr("tokenizer_config.json"),
                               ::testing::HasSubstr("tokenizer_class T5Tokenizer")));
  std::filesystem::remove(folder.path("tokenizer.model"));
  folder.file("vocab.json", R"({"a": 0})");
  folder.file("merges.txt", "");
  EXPECT_THAT(error(R"({"add_bos_token": true, "bos_token": null})"),
              ::testing::HasSubstr("bos_token is null"));
  folder.file("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  folder.file(
      "tokenizer_config.json",
      R"({"tokenizer_class": "OtherTokenizer", "auto_map": {"AutoTokenizer": ["x", null]}})");
  ::testing::internal::CaptureStderr();
  open_tokenizer(folder.path());
  const std::string warnings = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(warnings, ::testing::HasSubstr("tokenizer_config.json: auto_map"));
  EXPECT_THAT(warnings, ::testing::HasSubstr("tokenizer_class OtherTokenizer is not known"));
}

}  // namespace
}  // namespace lowbank::tokenizers
