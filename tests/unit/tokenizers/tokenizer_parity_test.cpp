#include <array>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"
#include "temp_folder.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/utf8_stream.h"

// Against tests/parity/fixtures/tokenizers: what tokenizers, transformers and tiktoken make of
// texts that are easy to get wrong.

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int64_t>;
using testing::TempFolder;

const std::string kFixtures =
    std::string(LOWBANK_SOURCE_DIR) + "/tests/parity/fixtures/tokenizers/";

// The lines of a fixture without the one that says its version.
std::vector<Json> fixture_lines(const std::string& name) {
  const std::string content = read_text(kFixtures + name);
  std::vector<Json> lines;
  for (const auto line : split_lines(content)) lines.push_back(parse_json(line, name));
  if (lines.empty() || lines[0].value("version", 0) != 1) {
    throw std::runtime_error(name + " is not of version 1; run make_tokenizer_fixture.py");
  }
  lines.erase(lines.begin());
  return lines;
}

std::string shared_data() {
  const char* const path = std::getenv("LOWBANK_SHARED_DATA");
  return path != nullptr ? path : std::string(LOWBANK_SOURCE_DIR) + "/../shared/data";
}

std::string streamed(const Tokenizer& tokenizer, const Ids& ids) {
  Utf8Stream stream;
  std::string text;
  std::int64_t previous = -1;
  for (const auto id : ids) {
    const std::string part = stream.push(tokenizer.decode_piece(previous, id));
    EXPECT_EQ(find_invalid_utf8(part), std::string::npos);
    text += part;
    previous = id;
  }
  return text + stream.finish();
}

void expect_sound_offsets(const Tokenizer& tokenizer, const std::string& text, const Ids& ids) {
  const auto encoding = tokenizer.encode_with_offsets(text);
  EXPECT_EQ(encoding.ids, ids);
  ASSERT_EQ(encoding.ends.size(), ids.size());
  std::int64_t last = 0;
  for (const auto end : encoding.ends) {
    EXPECT_LE(last, end) << text;
    last = end;
    const auto at = static_cast<std::size_t>(end);
    EXPECT_TRUE(at == text.size() || (static_cast<unsigned char>(text[at]) & 0xC0u) != 0x80)
        << "half a character of " << text;
  }
  if (!ids.empty()) {
    EXPECT_EQ(last, static_cast<std::int64_t>(text.size())) << text;
  }
}

/// A published vocabulary, and the folder of test data that has it.
struct Published {
  const char* name;
  const char* vocabulary;  // in the folder of test data; "" = among the fixtures
  bool streams_exactly;    // decode() has no rule that looks at a whole text
};

class PublishedVocabulary : public ::testing::TestWithParam<Published> {
 protected:
  void SetUp() override {
    const std::string vocabulary = GetParam().vocabulary;
    path_ = vocabulary.empty() ? kFixtures + GetParam().name + ".json"
                               : shared_data() + "/tokenizers/" + vocabulary;
    if (!std::filesystem::exists(path_)) {
      GTEST_SKIP() << path_ << " is absent; LOWBANK_SHARED_DATA names the folder of test data";
    }
    if (std::string(GetParam().name) == "bert_cased") {
      folder_.file("vocab.txt", read_bytes(path_));
      folder_.file("tokenizer_config.json",
                   R"({"do_lower_case": false, "tokenize_chinese_chars": false})");
      path_ = folder_.path();
    }
    tokenizer_ = open_tokenizer(path_);
    lines_ = fixture_lines(std::string(GetParam().name) + ".jsonl");
  }

  TempFolder folder_;
  std::string path_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<Json> lines_;
};

TEST_P(PublishedVocabulary, GivesTheIdsAndTextsOfThePeer) {
  const auto texts = fixture_lines("texts.jsonl");
  ASSERT_GE(texts.size(), 300u);
  ASSERT_EQ(lines_.size(), texts.size() + 2);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto ids = tokenizer_->encode(text);
    ASSERT_EQ(ids, lines_[i]["ids"].get<Ids>()) << text;
    const std::string decoded =
        lines_[i]["text"].is_null() ? text : lines_[i]["text"].get<std::string>();
    EXPECT_EQ(tokenizer_->decode(ids), decoded);
    if (GetParam().streams_exactly) {
      EXPECT_EQ(streamed(*tokenizer_, ids), decoded);
    }
    expect_sound_offsets(*tokenizer_, text, ids);
  }
  EXPECT_EQ(tokenizer_->encode("Hello, world!", /*add_special=*/true),
            lines_.back()["special"].get<Ids>());
}

TEST_P(PublishedVocabulary, GivesTheIdsOfThePeerForWikiText2Valid) {
  const std::string path = shared_data() + "/lm/wikitext2/valid.txt";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto ids = tokenizer_->encode(read_text(path));
  const std::vector<std::int32_t> narrow(ids.begin(), ids.end());
  const Json& expected = lines_[lines_.size() - 2];
  EXPECT_EQ(ids.size(), expected["count"].get<std::size_t>());
  EXPECT_EQ(hash_bytes({reinterpret_cast<const char*>(narrow.data()), narrow.size() * 4}),
            expected["wikitext2_valid"].get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, PublishedVocabulary,
                         ::testing::Values(Published{"gpt2", "gpt2/vocab.json", true},
                                           Published{"bert", "bert-base-uncased/vocab.txt", false},
                                           Published{"bert_cased", "bert-base-uncased/vocab.txt",
                                                     false},
                                           Published{"neox", "gpt-neox-20b/tokenizer.json", true},
                                           Published{"llama3", "llama3/tokenizer.model", true},
                                           Published{"smollm2_form", "", true}),
                         [](const auto& which) { return std::string(which.param.name); });

TEST(JsonTokenizerParity, EveryComponentGivesTheIdsAndTextsOfTokenizers) {
  const auto lines = fixture_lines("cases.jsonl");
  const auto texts = lines[0]["texts"].get<std::vector<std::string>>();
  ASSERT_GE(lines.size(), 90u);
  for (std::size_t c = 2; c < lines.size(); ++c) {
    const Json& line = lines[c];
    Json spec = line["members"];
    spec["model"] = lines[1]["models"][line["base"].get<std::string>()];
    spec["model"].update(line["model"]);
    const auto name = line["name"].get<std::string>();
    const auto tokenizer = make_json_tokenizer(spec, name);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer->encode(texts[i]);
      EXPECT_EQ(ids, line["ids"][i].get<Ids>()) << name << ": " << texts[i];
      EXPECT_EQ(tokenizer->decode(ids), line["text"][i].get<std::string>()) << name;
      EXPECT_EQ(tokenizer->encode(texts[i], /*add_special=*/true),
                line[line.contains("special") ? "special" : "ids"][i].get<Ids>())
          << name;
      expect_sound_offsets(*tokenizer, texts[i], ids);
    }
    const auto pair = tokenizer->encode_pair("a b", "c", 1000);
    EXPECT_EQ(pair.ids, line["pair"][0].get<Ids>()) << name;
    EXPECT_EQ(pair.type_ids, line["pair"][1].get<Ids>()) << name;
  }
}

TEST(JsonTokenizerParity, PairsAreCutAsTransformersCutsThem) {
  const std::string path = shared_data() + "/tokenizers/bert-base-uncased/vocab.txt";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto tokenizer = open_tokenizer(path);
  for (const auto& line : fixture_lines("pairs.jsonl")) {
    std::optional<std::string> second;
    if (!line["second"].is_null()) second = line["second"].get<std::string>();
    const auto got = tokenizer->encode_pair(line["first"].get<std::string>(), second,
                                            line["max_length"].get<std::int64_t>());
    EXPECT_EQ(got.ids, line["ids"].get<Ids>()) << line.dump();
    EXPECT_EQ(got.type_ids, line["type_ids"].get<Ids>()) << line.dump();
  }
}

}  // namespace
}  // namespace lowbank::tokenizers
