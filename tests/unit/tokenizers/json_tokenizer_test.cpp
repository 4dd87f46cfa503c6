#include "tokenizers/json_tokenizer.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "error_text.h"
#include "temp_folder.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/vocab_files.h"

namespace lowbank::tokenizers {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int64_t>;
using testing::error_text;
using testing::TempFolder;

// Bytes a-z and space, and a few merges.
const char* const kSpec = R"({
  "added_tokens": [{"id": 20, "content": "<s>", "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [20], "tokens": ["<s>"]}}},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE",
    "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "Ã": 4, "©": 5, "ab": 6, "abc": 7, "Ġab": 8, "aa": 9, "aaaa": 10},
    "merges": [["a", "b"], ["ab", "c"], ["Ġ", "ab"], "a a", "aa aa"]}
})";

std::unique_ptr<Tokenizer> small_tokenizer() {
  return make_json_tokenizer(parse_json(kSpec, "small"), "small", {.bos = "<s>", .eos = "ab"});
}

// kSpec with `value` at a JSON pointer, opened: what it says.
std::string message_with(const std::string& pointer, const std::string& value) {
  Json spec = parse_json(kSpec, "small");
  spec[Json::json_pointer(pointer)] = Json::parse(value);
  return error_text<IoError>([&] { make_json_tokenizer(spec, "t.json"); });
}

TEST(JsonTokenizer, MergesTheLowestRankFirst) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->encode("abc ab"), (Ids{7, 8}));
  EXPECT_EQ(tokenizer->encode("aaaaa"), (Ids{10, 0}));
  EXPECT_EQ(tokenizer->encode("<s>ab", true), (Ids{20, 20, 6}));
  EXPECT_EQ(tokenizer->decode(Ids{20, 7, 8}), "abc ab");
}

TEST(JsonTokenizer, KnowsTheTokensWithAPartToPlay) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->bos_id(), 20);
  EXPECT_EQ(tokenizer->eos_id(), 6);
  EXPECT_EQ(tokenizer->special_ids().pad, std::nullopt);
  EXPECT_EQ(tokenizer->vocab_size(), 21);
  EXPECT_EQ(
      make_json_tokenizer(parse_json(kSpec, "small"), "small", {}, {.bos = 3, .eos = 99})->bos_id(),
      3);
}

TEST(JsonTokenizer, RefusesIdsOutsideTheVocabularyAndReadsHolesAsNothing) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->decode(Ids{15, 0}), "a");
  EXPECT_THROW(tokenizer->decode(Ids{21}), ConfigError);
  EXPECT_THROW(tokenizer->decode_piece(0, -1), ConfigError);
}

TEST(JsonTokenizer, RefusesTextThatIsNoUtf8) {
  const auto message = error_text<ConfigError>([] { small_tokenizer()->encode("ab\xC3"); });
  EXPECT_THAT(message, HasSubstr("not UTF-8 at byte 2"));
}

TEST(JsonTokenizer, PiecesGiveHalfACharacterAsBytes) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->decode_piece(0, 4), "\xC3");
  EXPECT_EQ(tokenizer->decode_piece(4, 5), "\xA9");
  EXPECT_EQ(tokenizer->decode(Ids{4}), "\xEF\xBF\xBD");
}

TEST(JsonTokenizer, AnEndInsideACharacterLiesBeforeIt) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->encode_with_offsets("a\xC3\xA9 ab", true).ends, (Ids{0, 1, 1, 3, 6}));
}

TEST(JsonTokenizer, ATokenThatTakesTheSpaceAfterItTakesTheTokenMadeOfIt) {
  Json spec = parse_json(kSpec, "small");
  spec["added_tokens"].push_back({{"id", 21}, {"content", "<r>"}, {"rstrip", true}});
  spec["added_tokens"].push_back({{"id", 22}, {"content", "\n"}, {"lstrip", true}});
  const auto tokenizer = make_json_tokenizer(spec, "small");
  const auto encoding = tokenizer->encode_with_offsets("<r> \na\n");
  EXPECT_EQ(encoding.ids, (Ids{21, 0, 22}));
  EXPECT_EQ(encoding.ends, (Ids{5, 6, 7}));
}

TEST(JsonTokenizer, OfTwoTokensThatNormaliseAlikeTheSpecialOneIsFound) {
  Json spec = parse_json(kSpec, "small");
  spec["normalizer"] = {{"type", "Lowercase"}};
  spec["added_tokens"].push_back({{"id", 21}, {"content", "[A]"}});
  spec["added_tokens"].push_back({{"id", 22}, {"content", "[a]"}});
  EXPECT_EQ(make_json_tokenizer(spec, "small")->encode("[A]"), (Ids{21}));
  spec["added_tokens"][2]["special"] = true;
  spec["added_tokens"][2]["normalized"] = true;
  EXPECT_EQ(make_json_tokenizer(spec, "small")->encode("[A]"), (Ids{22}));
}

TEST(JsonTokenizer, PairsNeedRoomForTheirSpecialTokens) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->encode_pair("a b", "c", 3).ids, (Ids{20, 0, 2}));
  EXPECT_EQ(tokenizer->encode_pair("a b", "c", 1).ids, (Ids{20}));
  EXPECT_THROW(tokenizer->encode_pair("a", "b", 0), ConfigError);
}

TEST(JsonTokenizer, SaysWhereAFileIsWrong) {
  EXPECT_THAT(message_with("/model/type", R"("Unigram")"),
              HasSubstr("t.json: model: model 'Unigram'"));
  EXPECT_THAT(message_with("/model/dropout", "0.1"),
              HasSubstr("t.json: model.dropout: must be null or 0"));
  EXPECT_THAT(message_with("/model/vocab/x", "0"), HasSubstr("two tokens have id 0"));
  EXPECT_THAT(message_with("/model/vocab/x", "2000000000"), HasSubstr("id of token 'x' must be"));
  EXPECT_THAT(message_with("/model/vocab/x", "-1"), HasSubstr("id of token 'x' must be"));
  EXPECT_THAT(message_with("/model/merges/0", R"(["a", "zz"])"),
              HasSubstr("model.merges[0]: token 'zz'"));
  EXPECT_THAT(message_with("/model/merges/0", R"("a b c")"), HasSubstr("one space between"));
  EXPECT_THAT(message_with("/model/extra", "1"),
              HasSubstr("model: unknown key 'extra'; known: type, "));
  EXPECT_THAT(message_with("/normalizer", R"({"type": "Nmt"})"),
              HasSubstr("normalizer: normalizer 'Nmt'"));
  EXPECT_THAT(
      message_with("/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [{"type": "X"}]})"),
      HasSubstr("pre_tokenizer.pretokenizers[0]: pre-tokenizer 'X'"));
  EXPECT_THAT(
      message_with("/pre_tokenizer",
                   R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})"),
      HasSubstr("pre_tokenizer.pattern: cannot read the pattern"));
  EXPECT_THAT(message_with("/pre_tokenizer",
                           R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd"})"),
              HasSubstr("pre_tokenizer.behavior: 'Odd'"));
  EXPECT_THAT(message_with("/post_processor/single/0/SpecialToken/id", R"("<t>")"),
              HasSubstr("'<t>' is none"));
  EXPECT_THAT(message_with("/post_processor/special_tokens/<s>/ids/0", "21"),
              HasSubstr("post_processor: token id must be in [0, 21), got 21"));
  EXPECT_THAT(message_with("/decoder", R"({"type": "CTC"})"), HasSubstr("decoder 'CTC'"));
  EXPECT_THAT(
      message_with("/added_tokens/0/id", "3000000000"),
      HasSubstr("added_tokens[0].id: must be a whole number in [0, 2147483647]; got 3000000000"));
  EXPECT_THAT(message_with("/added_tokens/0/id", "1000000"),
              HasSubstr("added_tokens[0].id: must be below"));
  EXPECT_THAT(message_with("/version", R"("2.0")"), HasSubstr("version: must be"));
  EXPECT_THAT(message_with("/extra", "1"),
              HasSubstr("t.json: unknown key 'extra'; known: version, "));
}

TEST(JsonTokenizer, ReadsOverTruncationAndPadding) {
  Json spec = parse_json(kSpec, "small");
  spec["truncation"] = {{"max_length", 1}};
  spec["padding"] = {{"length", 9}};
  EXPECT_EQ(make_json_tokenizer(spec, "small")->encode("a b"), small_tokenizer()->encode("a b"));
}

TEST(JsonTokenizer, ARunOfAMillionCharactersTakesLessThanSeconds) {
  const auto tokenizer = small_tokenizer();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, 'a')), Ids(1 << 18, 10));
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, ' ')), Ids(1 << 20, 3));
  // It is 0.1 s; a method of quadratic time would take hours.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(JsonTokenizer, RunsOfMarksAreOrderedInTimeThatIsNotTheirSquare) {
  Json spec = parse_json(kSpec, "small");
  spec["normalizer"] = {{"type", "NFC"}};
  std::string marks;
  for (int i = 0; i < 200000; ++i) marks += "\xCC\x81\xCC\xA3";  // U+0301 U+0323: out of order
  EXPECT_TRUE(make_json_tokenizer(spec, "small")->encode(marks).empty());
}

TEST(JsonTokenizer, WordsMetBeforeGetTheSameTokens) {
  // More different words than the cache holds, so that it is emptied, at another word each time.
  std::vector<std::string> words;
  for (int i = 2; i < 50000; ++i) {
    std::string word = " ";
    for (int bits = i; bits > 0; bits /= 3) word += "abc"[bits % 3];
    words.push_back(word);
  }
  const auto backwards = small_tokenizer();
  std::vector<Ids> ids;
  for (auto word = words.rbegin(); word != words.rend(); ++word) {
    ids.push_back(backwards->encode(*word));
    EXPECT_EQ(backwards->decode(ids.back()), *word);
  }
  std::string text;
  Ids expected;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      text += words[i];
      const Ids& own = ids[words.size() - 1 - i];
      expected.insert(expected.end(), own.begin(), own.end());
    }
  }
  EXPECT_EQ(small_tokenizer()->encode(text), expected);
}

TEST(EncodeBatch, DoesNotDependOnTheNumberOfThreads) {
  const auto tokenizer = small_tokenizer();
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i)
    texts.push_back(std::string(static_cast<std::size_t>(i % 37), 'a') + " abc");
  const auto one = encode_batch(*tokenizer, texts, true, 1);
  for (std::size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(one[i], tokenizer->encode(texts[i], true));
  for (const std::int64_t threads : {2, 5})
    EXPECT_EQ(encode_batch(*tokenizer, texts, true, threads), one);
  texts[7] = "\xFF";
  EXPECT_THROW(encode_batch(*tokenizer, texts, true, 3), ConfigError);
}

TEST(VocabFiles, Gpt2FilesFollowTheTokenizerConfig) {
  const TempFolder folder;
  folder.file("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4})");
  folder.file("merges.txt", "#version: 0.2\na b\n\xC4\xA0 ab\n");
  EXPECT_TRUE(has_tokenizer(folder.path()));
  auto tokenizer = open_tokenizer(folder.path());
  // <|endoftext|> is not in the vocabulary and gets the next id.
  EXPECT_EQ(tokenizer->encode("ab ab<|endoftext|>", true), (Ids{2, 4, 5}));
  EXPECT_EQ(tokenizer->eos_id(), 5);
  folder.file(
      "tokenizer_config.json",
      R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "add_prefix_space": true,
                  "bos_token": {"content": "<b>"}})");
  folder.file("added_tokens.json", R"({"<x>": 7})");
  tokenizer = open_tokenizer(folder.path("merges.txt"));
  // Tokens are numbered on from the vocabulary, whatever id a file names: <x>, then <b>.
  EXPECT_EQ(tokenizer->encode("ab<x>", true), (Ids{6, 4, 5}));
  EXPECT_EQ(tokenizer->bos_id(), 6);
  folder.file("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})");
  EXPECT_THAT(error_text<ConfigError>([&] { open_tokenizer(folder.path()); }),
              HasSubstr("RobertaTokenizer"));
}

TEST(VocabFiles, BertFilesAreLowerCaseUnlessTheConfigSaysOtherwise) {
  const TempFolder folder;
  folder.file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\nAb\n,\n");
  EXPECT_EQ(open_tokenizer(folder.path())->encode("Abc, [MASK]", true), (Ids{2, 5, 6, 8, 4, 3}));
  EXPECT_EQ(open_tokenizer(folder.path())->decode(Ids{2, 5, 6, 8, 4, 3}), "abc,");
  EXPECT_EQ(open_tokenizer(folder.path())->special_ids().pad, 0);
  folder.file("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_EQ(open_tokenizer(folder.path("vocab.txt"))->encode("Abc"), (Ids{7, 6}));
}

TEST(VocabFiles, TiktokenRanksAreCheckedLineByLine) {
  EXPECT_TRUE(is_tiktoken("IQ== 0\nIg== 1\n"));
  EXPECT_FALSE(is_tiktoken("\x0A\x0D sentencepiece"));
  const auto says = [](const char* ranks) {
    return error_text<IoError>([&] { make_tiktoken_tokenizer(ranks, "t.model"); });
  };
  EXPECT_THAT(says("IQ== 0\nxx\n"), HasSubstr("t.model line 2: wants BASE64"));
  EXPECT_THAT(says("IQ== 0\nIg== 0\n"), HasSubstr("each once; got 0"));
  EXPECT_THAT(says("IQ== 5\n"), HasSubstr("ranks must be in [0, 1)"));
  const auto tokenizer = make_tiktoken_tokenizer("YQ== 0\nYg== 1\nYWI= 2\n", "t.model");
  EXPECT_EQ(tokenizer->encode("abab<|eot_id|>", true), (Ids{3, 2, 2, 12}));
  EXPECT_EQ(tokenizer->vocab_size(), 3 + 256);
}

TEST(VocabFiles, TiktokenJoinsTheLeftmostOfEqualPairs) {
  // "aaa" is a token but neither the text's; "aa" joins from the left, then "aa" + "a".
  const auto tokenizer = make_tiktoken_tokenizer("YQ== 0\nYWE= 1\nYWFh 2\n", "t.model");
  EXPECT_EQ(tokenizer->encode("aaaa"), (Ids{1, 1}));
  EXPECT_EQ(tokenizer->encode("aaaaa"), (Ids{1, 2}));
}

}  // namespace
}  // namespace lowbank::tokenizers
