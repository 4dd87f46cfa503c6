// Long texts are encoded part by part and in windows: the ids, offsets and decoded texts must be
// those of the whole, wherever the borders fall.
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/text.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "temp_folder.h"
#include "tokenizers/bpe_model.h"
#include "tokenizers/json_tokenizer.h"
#include "tokenizers/sentencepiece_encoder.h"
#include "tokenizers/sentencepiece_tokenizer.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/tokenizer_files.h"

namespace lowbank::tokenizers {
namespace {

using testing::TempFolder;
using Json = nlohmann::ordered_json;
using Ids = std::vector<std::int64_t>;

const std::string kStories =
    std::string(LOWBANK_SOURCE_DIR) + "/data/samples/stories260K/tok512.model";
const std::string kCases =
    std::string(LOWBANK_SOURCE_DIR) + "/tests/parity/fixtures/tokenizers/cases.jsonl";

/// Words that are likely to be cut between, and everything that may make a cut wrong.
std::string random_text(std::mt19937& random, std::size_t num_pieces) {
  static const std::vector<std::string> pieces = {"a",
                                                  "b",
                                                  "c",
                                                  "the",
                                                  "cat",
                                                  "on",
                                                  "s",
                                                  "x",
                                                  " ",
                                                  " ",
                                                  " ",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "   ",
                                                  "\n",
                                                  "\t",
                                                  "\r\n",
                                                  "'s",
                                                  "'",
                                                  ".",
                                                  ",",
                                                  "!?",
                                                  "1",
                                                  "22",
                                                  "A",
                                                  "THE",
                                                  "<s>",
                                                  "</s>",
                                                  "[TOK]",
                                                  "<mask>",
                                                  "tok",
                                                  "\xC3\xA9",
                                                  "e\xCC\x81",
                                                  "\xE2\x96\x81",
                                                  "\xE6\x97\xA5\xE6\x9C\xAC",
                                                  "\xE3\x80\x80",
                                                  "\xEF\xAC\x81",
                                                  "\xE2\x80\x8B",
                                                  "##a",
                                                  "<0x0A>",
                                                  "\xF0\x9F\x91\x8D",
                                                  "\xE1\x84\x80\xE1\x85\xA1",
                                                  "aaaaaaaa",
                                                  "_"};
  std::string text;
  for (std::size_t i = 0; i < num_pieces; ++i) text += pieces[random() % pieces.size()];
  return text;
}

struct Encoded : TokenSink {
  void take(std::span<const std::int32_t> new_ids,
            std::span<const std::int64_t> new_ends) override {
    ids.insert(ids.end(), new_ids.begin(), new_ids.end());
    ends.insert(ends.end(), new_ends.begin(), new_ends.end());
  }
  Ids ids;
  Ids ends;
};

Encoded encoded(const Tokenizer& tokenizer, std::string_view text, std::size_t part_bytes) {
  Encoded out;
  TokenWriter writer(out, /*with_ends=*/true);
  encode_text(tokenizer, text, /*add_special=*/true, writer, part_bytes);
  return out;
}

Encoded streamed(const Tokenizer& tokenizer, std::string_view text, std::size_t part_bytes) {
  Encoded out;
  TokenWriter writer(out, /*with_ends=*/true);
  std::string parts;
  const std::string whole(text);
  const TextSource source = [&] {
    std::string some(text.substr(0, 5));
    text.remove_prefix(some.size());
    return some;
  };
  encode_stream(
      tokenizer, source, /*add_special=*/true, writer, {},
      [&](std::string_view part) { parts += part; }, part_bytes);
  EXPECT_EQ(parts, whole);
  return out;
}

std::string decoded_in_blocks(const Tokenizer& tokenizer, const Ids& ids) {
  IdList list;
  for (const auto id : ids) {
    const auto narrow = static_cast<std::int32_t>(id);
    list.take({&narrow, 1}, {});
  }
  std::string text;
  tokenizer.decode_list(list, [&](std::string_view piece) { text += piece; });
  return text;
}

/// Returns whether any of the texts was cut.
bool expect_parts_join(const Tokenizer& tokenizer, const std::string& name, unsigned seed,
                       int num_texts) {
  std::mt19937 random(seed);
  bool is_cut = false;
  for (int i = 0; i < num_texts; ++i) {
    const std::string text = random_text(random, 1 + random() % 60);
    const Encoded whole = encoded(tokenizer, text, text.size() + 1);
    for (const std::size_t part_bytes : {1U, 9U, 40U}) {
      const Encoded parts = encoded(tokenizer, text, part_bytes);
      EXPECT_EQ(parts.ids, whole.ids) << name << ": " << Json(text).dump();
      EXPECT_EQ(parts.ends, whole.ends) << name << ": " << Json(text).dump();
    }
    const Encoded stream = streamed(tokenizer, text, 9);
    EXPECT_EQ(stream.ids, whole.ids) << name << ": " << Json(text).dump();
    EXPECT_EQ(stream.ends, whole.ends) << name << ": " << Json(text).dump();
    EXPECT_EQ(tokenizer.encode(text, true), whole.ids);
    is_cut = is_cut || tokenizer.find_cut(text) != 0;
    if (::testing::Test::HasFailure()) return is_cut;
  }
  return is_cut;
}

TEST(TextParts, PartsOfEveryPipelineJoinToTheWhole) {
  const std::string content = read_text(kCases);
  const auto lines = split_lines(content);
  const Json models = parse_json(lines[2], "cases")["models"];
  std::size_t num_cut = 0;
  for (std::size_t c = 3; c < lines.size(); ++c) {
    const Json line = parse_json(lines[c], "cases");
    Json spec = line["members"];
    spec["model"] = models[line["base"].get<std::string>()];
    spec["model"].update(line["model"]);
    const auto name = line["name"].get<std::string>();
    const auto tokenizer = make_json_tokenizer(spec, name);
    num_cut += expect_parts_join(*tokenizer, name, static_cast<unsigned>(c), 15) ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GE(num_cut, 15u);  // or nothing was tested; the others join words or look behind
}

TEST(TextParts, PartsJoinForSentencepieceAndItsGgufForm) {
  EXPECT_TRUE(expect_parts_join(*open_tokenizer(kStories), "stories", 1, 300));
  const TempFolder folder;
  GgufKeys keys = {{"general.architecture", std::string("llama")}};
  const TokenizerFiles files = {{"tokenizer.model", read_bytes(kStories)}};
  for (auto& key : gguf_tokenizer_keys(files, Json::object(), "folder")) {
    keys.push_back(std::move(key));
  }
  const std::string path = folder.path("stories.gguf");
  GgufWriter writer(path, keys, {});
  writer.commit();
  EXPECT_TRUE(expect_parts_join(*open_tokenizer(path), "gguf", 2, 300));
}

// BERT's words end at any white space and at Chinese characters: texts of other scripts are cut too.
TEST(TextParts, BertIsCutInTextsOfAnyScript) {
  const auto token = [](const char* content, int id, bool lstrip, bool rstrip, bool single_word) {
    return Json{{"id", id},         {"content", content}, {"single_word", single_word},
                {"lstrip", lstrip}, {"rstrip", rstrip},   {"normalized", id % 2 == 0},
                {"special", true}};
  };
  const Json vocabulary = {{"[UNK]", 0}, {"a", 1},        {"##a", 2},  {"b", 3},
                           {"the", 4},   {"cat", 5},      {"s", 6},    {"\xE6\x97\xA5", 7},
                           {"e", 8},     {"\xC3\xA9", 9}, {".", 10},   {"'", 11},
                           {"##s", 12},  {"[TOK]", 13},   {"<s>", 14}, {"tok", 15}};
  const auto make = [&](const Json& added, const Json& normalizer, const char* pre_tokenizer) {
    return make_json_tokenizer({{"added_tokens", added},
                                {"normalizer", normalizer},
                                {"pre_tokenizer", {{"type", pre_tokenizer}}},
                                {"model",
                                 {{"type", "WordPiece"},
                                  {"unk_token", "[UNK]"},
                                  {"continuing_subword_prefix", "##"},
                                  {"max_input_chars_per_word", 100},
                                  {"vocab", vocabulary}}}},
                               pre_tokenizer);
  };
  const Json bert = {{"type", "BertNormalizer"}};
  const Json plain = {{"type", "BertNormalizer"}, {"handle_chinese_chars", false}};
  const Json forms = {
      {"type", "Sequence"},
      {"normalizers", {{{"type", "NFKC"}}, {{"type", "Lowercase"}}, {{"type", "StripAccents"}}}}};
  const std::string chinese = "\xE6\x97\xA5\xE6\x9C\xAC\xE6\x97\xA5";
  const Json added = {token("[TOK]", 13, true, false, false), token("<s>", 14, false, false, true),
                      token("tok", 15, true, false, true)};
  for (const char* pre_tokenizer : {"BertPreTokenizer", "WhitespaceSplit", "Whitespace"}) {
    for (const Json& normalizer : {bert, plain, forms}) {
      const auto tokenizer = make(added, normalizer, pre_tokenizer);
      EXPECT_TRUE(expect_parts_join(*tokenizer, pre_tokenizer, 7, 200));
      EXPECT_EQ(tokenizer->find_cut("\xD0\xB6 \xD0\xB6"), 2u);
      EXPECT_EQ(tokenizer->find_cut("\xE3\x80\x82\n\xE6\x97\xA5"), 3u);
      EXPECT_EQ(tokenizer->find_cut(chinese + "\xE6"), normalizer == bert ? 6u : 0u);
      EXPECT_EQ(tokenizer->find_cut(" a"), 0u);
    }
  }
  // What takes the space behind it, or reaches over one, or holds Chinese characters.
  for (const Json& other :
       {token("[TOK]", 13, false, true, false), token("a b", 14, false, false, false),
        token(chinese.c_str(), 14, false, false, false)}) {
    const auto tokenizer = make(Json::array({other}), bert, "BertPreTokenizer");
    expect_parts_join(*tokenizer, "BertPreTokenizer", 8, 200);
    EXPECT_EQ(tokenizer->find_cut("\xD0\xB6 \xD0\xB6"), 0u);
  }
}

// What follows a token that was cut out of the text may get a prefix, which a part that begins there
// must get too.
TEST(TextParts, PartsJoinBehindATokenThatEndsInALetter) {
  const auto token = [](const char* content, int id) {
    return Json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  };
  for (const char* content : {"tok", "<s>"}) {
    Json vocabulary = {{"<unk>", 0}, {"\xE2\x96\x81", 1}, {content, 2}};
    for (const char letter : std::string("abcthesonx.")) {
      vocabulary[std::string(1, letter)] = vocabulary.size();
    }
    const Json normalizers = {
        {{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}};
    Json spec = {{"added_tokens", {token(content, 2)}},
                 {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
                 {"model",
                  {{"type", "BPE"},
                   {"unk_token", "<unk>"},
                   {"vocab", vocabulary},
                   {"merges", Json::array()}}}};
    const auto tokenizer = make_json_tokenizer(spec, content);
    EXPECT_EQ(expect_parts_join(*tokenizer, content, 19, 300), content[0] == '<');
  }
  SentencepieceModel model = read_sentencepiece_model(read_bytes(kStories), "stories");
  model.pieces[300] = {"tok", 0, TokenKind::kUserDefined};
  const TempFolder folder;
  const std::string path = folder.path("tok.gguf");
  GgufKeys keys = {{"general.architecture", std::string("llama")}};
  const TokenizerFiles files = {{"tokenizer.model", write_sentencepiece_model(model)}};
  for (auto& key : gguf_tokenizer_keys(files, Json::object(), "folder")) {
    keys.push_back(std::move(key));
  }
  GgufWriter(path, keys, {}).commit();
  expect_parts_join(*open_tokenizer(path), "gguf", 23, 300);
}

TEST(TextParts, ListsDecodeAsTheirIdsDo) {
  std::mt19937 random(3);
  const auto stories = open_tokenizer(kStories);
  const std::string text = random_text(random, 20000);
  const Ids ids = stories->encode(text, true);
  ASSERT_GT(ids.size(), 10000u);
  EXPECT_EQ(decoded_in_blocks(*stories, ids), stories->decode(ids));
  std::string signs;
  for (int i = 0; i < 4000; ++i) signs += "\xE6\x97\xA5";
  EXPECT_EQ(decoded_in_blocks(*stories, stories->encode(signs)), signs);
  const std::string content = read_text(kCases);
  const auto lines = split_lines(content);
  const Json models = parse_json(lines[2], "cases")["models"];
  for (std::size_t c = 3; c < lines.size(); ++c) {
    const Json line = parse_json(lines[c], "cases");
    Json spec = line["members"];
    spec["model"] = models[line["base"].get<std::string>()];
    spec["model"].update(line["model"]);
    const auto tokenizer = make_json_tokenizer(spec, line["name"].get<std::string>());
    const Ids some = tokenizer->encode(truncate_code_points(text, 30000), true);
    EXPECT_EQ(decoded_in_blocks(*tokenizer, some), tokenizer->decode(some)) << line["name"];
  }
}

/// A model with random pieces; with a control piece of one character the library encodes.
SentencepieceModel random_model(std::mt19937& random, SentencepieceModel::Type type,
                                const std::string& charsmap) {
  SentencepieceModel model;
  model.type = type;
  model.byte_fallback = random() % 2 == 0;
  model.add_dummy_prefix = random() % 4 != 0;
  model.remove_extra_whitespaces = random() % 2 == 0;
  model.escape_whitespaces = random() % 8 != 0;
  model.treat_whitespace_as_suffix = random() % 5 == 0;
  model.normalizer_name = "nmt_nfkc";
  if (random() % 2 == 0) model.precompiled_charsmap = charsmap;
  model.pieces = {{"<unk>", 0, TokenKind::kUnknown},
                  {"<s>", 0, TokenKind::kControl},
                  {"</s>", 0, TokenKind::kControl}};
  std::vector<std::string> known = {"<unk>", "<s>", "</s>"};
  const auto add = [&](const std::string& text, TokenKind kind) {
    if (std::find(known.begin(), known.end(), text) != known.end()) return;
    known.push_back(text);
    // Few different scores, so that ties are met.
    model.pieces.push_back({text, -static_cast<float>(random() % 40) / 4, kind});
  };
  if (model.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      char text[8];
      std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<unsigned>(byte));
      add(text, TokenKind::kByte);
    }
  }
  const std::vector<std::string> letters = {
      "a", "b", "c", "t", "h", "e", "\xE2\x96\x81", "\xE2\x96\x81", "\xC3\xA9", ".", "1"};
  for (const auto& letter : letters) {
    if (random() % 8 != 0) add(letter, TokenKind::kNormal);
  }
  const bool joins_words = random() % 4 == 0;
  for (int i = 0; i < 60; ++i) {
    std::string text;
    const std::size_t size = 2 + random() % 4;
    for (std::size_t k = 0; k < size; ++k) {
      const auto& letter = letters[random() % letters.size()];
      if (!joins_words && k > 0 && letter == "\xE2\x96\x81" && !text.ends_with(letter)) continue;
      text += letter;
    }
    add(text, random() % 12 == 0 ? TokenKind::kUserDefined : TokenKind::kNormal);
  }
  return model;
}

TEST(SentencepieceEncoder, GivesTheIdsAndOffsetsOfTheLibrary) {
  const std::string charsmap =
      read_sentencepiece_model(read_bytes(kStories), "stories").precompiled_charsmap;
  std::mt19937 random(5);
  for (int i = 0; i < 240; ++i) {
    const auto type = static_cast<SentencepieceModel::Type>(1 + i % 4);
    SentencepieceModel model = random_model(random, type, charsmap);
    if (type == SentencepieceModel::Type::kWord) {
      model.add_dummy_prefix = true;
      model.escape_whitespaces = true;
      model.treat_whitespace_as_suffix = false;
    }
    const SentencepieceTokenizer own(write_sentencepiece_model(model), "own");
    ASSERT_NE(SentencepieceEncoder::make(model), nullptr);
    model.pieces.push_back({"\xE2\x96\x81\x01", 0, TokenKind::kControl});
    model.pieces.push_back({"\x01", 0, TokenKind::kControl});
    ASSERT_EQ(SentencepieceEncoder::make(model), nullptr);
    const SentencepieceTokenizer library(write_sentencepiece_model(model), "library");
    for (int k = 0; k < 60; ++k) {
      std::string text = random_text(random, 1 + random() % 30);
      if (k % 10 == 0) text.insert(random() % text.size(), "\xE2\x96");  // no UTF-8
      const auto expected = library.encode_with_offsets(text);
      const auto got = own.encode_with_offsets(text);
      ASSERT_EQ(got.ids, expected.ids) << i << ": " << text;
      ASSERT_EQ(got.ends, expected.ends) << i << ": " << text;
    }
    expect_parts_join(own, "model", static_cast<unsigned>(i), 10);
    if (HasFailure()) return;
  }
}

// Of a long text, a stretch at a time is normalised and encoded.
TEST(SentencepieceEncoder, GivesTheIdsOfTheLibraryForLongTexts) {
  std::mt19937 random(29);
  using Type = SentencepieceModel::Type;
  for (const Type type : {Type::kBpe, Type::kWord, Type::kChar}) {
    for (const std::string_view letters : {"abcthe.1 \n", "abcthe\n"}) {
      SentencepieceModel model = random_model(random, type, "");
      model.add_dummy_prefix = true;
      model.escape_whitespaces = true;
      model.treat_whitespace_as_suffix = false;
      model.pieces.push_back({"<unused1>", 0, TokenKind::kUnused});
      ASSERT_NE(SentencepieceEncoder::make(model), nullptr);
      const SentencepieceTokenizer own(write_sentencepiece_model(model), "own");
      model.pieces.push_back({"\xE2\x96\x81\x01", 0, TokenKind::kControl});
      model.pieces.push_back({"\x01", 0, TokenKind::kControl});
      const SentencepieceTokenizer library(write_sentencepiece_model(model), "library");
      std::string text;
      for (int i = 0; i < 300000; ++i) text += letters[random() % letters.size()];
      const auto expected = library.encode_with_offsets(text);
      const auto got = own.encode_with_offsets(text);
      EXPECT_EQ(got.ids == expected.ids, true) << static_cast<int>(type) << letters;
      EXPECT_EQ(got.ends == expected.ends, true) << static_cast<int>(type) << letters;
    }
  }
  // Two pieces make this unused one, and the library cuts it as it was made last.
  SentencepieceModel model = random_model(random, Type::kBpe, "");
  model.pieces.push_back({"x0y", 0, TokenKind::kUnused});
  EXPECT_NE(SentencepieceEncoder::make(model), nullptr);
  model.pieces.push_back({"x0", 0, TokenKind::kNormal});
  EXPECT_EQ(SentencepieceEncoder::make(model), nullptr);
}

TEST(SentencepieceEncoder, RoundsLongUnigramPathsAsTheLibraryDoes) {
  std::mt19937 random(7);
  SentencepieceModel model = random_model(random, SentencepieceModel::Type::kUnigram, "");
  for (auto& piece : model.pieces) piece.score *= 1.0137F;
  const SentencepieceTokenizer own(write_sentencepiece_model(model), "own");
  model.pieces.push_back({"\x01", 0, TokenKind::kControl});
  const SentencepieceTokenizer library(write_sentencepiece_model(model), "library");
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "abcthe  "[random() % 8];
  EXPECT_EQ(own.encode(text), library.encode(text));
}

/// A tokenizer file of random merges over `letters`, as pieces with scores and as ranks.
struct RandomMerges {
  std::vector<std::pair<std::string, std::int32_t>> entries;
  std::vector<BpeMerge> merges;
};

RandomMerges random_merges(std::mt19937& random, std::string_view letters, int num_merges) {
  RandomMerges out;
  for (const char letter : letters) {
    out.entries.emplace_back(std::string(1, letter), static_cast<std::int32_t>(out.entries.size()));
  }
  std::vector<std::int32_t> ranks(static_cast<std::size_t>(num_merges));
  for (int i = 0; i < num_merges; ++i) ranks[static_cast<std::size_t>(i)] = i;
  // Not always in the order in which they are made.
  if (random() % 2 == 0) std::shuffle(ranks.begin(), ranks.end(), random);
  for (int i = 0; i < num_merges; ++i) {
    const auto& left = out.entries[random() % out.entries.size()];
    const auto& right = out.entries[random() % out.entries.size()];
    const std::string text = left.first + right.first;
    if (text.size() > 12) continue;
    std::int32_t merged = -1;
    for (const auto& entry : out.entries) merged = entry.first == text ? entry.second : merged;
    const std::int32_t left_id = left.second;
    const std::int32_t right_id = right.second;
    if (merged < 0) {
      merged = static_cast<std::int32_t>(out.entries.size());
      out.entries.emplace_back(text, merged);
    }
    out.merges.push_back({left_id, right_id, ranks[static_cast<std::size_t>(i)], merged});
  }
  return out;
}

std::vector<std::int32_t> tokens_of(const RandomMerges& made, std::size_t window_bytes,
                                    std::string_view word) {
  BpeOptions options;
  options.unk_token = "a";
  options.window_bytes = window_bytes;
  const BpeModel model(std::make_unique<Vocabulary>(made.entries), made.merges, options, "random");
  std::vector<WordToken> tokens;
  model.tokenize(word, tokens);
  std::vector<std::int32_t> ids;
  for (const auto& token : tokens) ids.push_back(token.id);
  return ids;
}

TEST(BpeWindows, GiveTheTokensOfTheWholeWord) {
  std::mt19937 random(11);
  for (int i = 0; i < 400; ++i) {
    // "a" is the unknown token and has no merges, so that windows are taken.
    const std::string_view letters = i % 3 == 0 ? "bc" : i % 3 == 1 ? "b" : "bcde";
    auto made = random_merges(random, letters, 4 + static_cast<int>(random() % 30));
    made.entries.emplace_back("a", static_cast<std::int32_t>(made.entries.size()));
    std::string word;
    const std::size_t size = 250 + random() % 500;
    while (word.size() < size) word += letters[random() % letters.size()];
    if (i % 5 == 0) word[random() % word.size()] = 'a';
    const auto whole = tokens_of(made, std::size_t{1} << 20, word);
    for (const std::size_t window : {1U, 5U, 17U, 64U}) {
      ASSERT_EQ(tokens_of(made, window, word), whole) << i << " window " << window << ": " << word;
    }
  }
}

TEST(SentencepieceEncoder, WindowsGiveTheIdsOfTheWholeWord) {
  std::mt19937 random(13);
  for (int i = 0; i < 100; ++i) {
    const auto model = random_model(random, SentencepieceModel::Type::kBpe, "");
    const auto whole = SentencepieceEncoder::make(model);
    const auto windows = SentencepieceEncoder::make(model);
    whole->set_window_bytes(std::size_t{1} << 30);
    for (const std::size_t window : {1U, 7U, 50U}) {
      windows->set_window_bytes(window);
      std::string text;
      for (int k = 0; k < 400; ++k) text += "abcthe.1 "[random() % (i % 2 == 0 ? 8 : 9)];
      Encoded expected, got;
      TokenWriter to_expected(expected, true), to_got(got, true);
      whole->encode({text}, to_expected);
      windows->encode({text}, to_got);
      to_expected.finish();
      to_got.finish();
      ASSERT_EQ(got.ids, expected.ids) << i << ": " << text;
      ASSERT_EQ(got.ends, expected.ends) << i << ": " << text;
    }
  }
}

/// Peak of this process's resident memory since the last reset [bytes]; 0 where there is none.
std::int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmHWM:") continue;
    std::int64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

void reset_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

TEST(TextMemory, IsAtMostEightBytesForAToken) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer keeps memory that was freed";
#endif
  const TempFolder folder;
  std::string sentences;
  while (sentences.size() < (std::size_t{6} << 20)) {
    sentences += "Once upon a time, there was a little girl named Lily. caf\xC3\xA9 3.14\n";
  }
  std::string endless;
  std::mt19937 random(17);
  while (endless.size() < (std::size_t{3} << 20)) {
    endless += static_cast<char>('a' + random() % 26);
  }
  const std::string content = read_text(kCases);
  const Json models = parse_json(split_lines(content)[2], "cases")["models"];
  Json bytes = {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                {"normalizer", {{"type", "NFC"}}},
                {"model", models["bytes"]}};
  Json words = {{"normalizer", {{"type", "BertNormalizer"}}},
                {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                {"model", {{"type", "WordPiece"}, {"vocab", {{"[UNK]", 0}, {"a", 1}}}}}};
  const auto stories = open_tokenizer(kStories);
  const auto byte_level = make_json_tokenizer(bytes, "bytes");
  const auto word_piece = make_json_tokenizer(words, "words");
  for (const auto* tokenizer : {stories.get(), byte_level.get(), word_piece.get()}) {
    for (const auto* text : {&sentences, &endless}) {
      // A normaliser's copy of such a text takes more (docs/tokenize.md).
      if (tokenizer == word_piece.get() && text == &endless) continue;
      for (const bool with_ends : {false, true}) {
        IdList warm;  // caches and tables belong to the tokenizer
        TokenWriter warm_up(warm, with_ends);
        encode_text(*tokenizer, std::string_view(*text).substr(0, 200000), false, warm_up);
        reset_peak();
        const std::int64_t before = peak_bytes();
        IdList ids;
        TokenWriter writer(ids, with_ends);
        encode_text(*tokenizer, *text, false, writer);
        const std::int64_t taken = peak_bytes() - before;
        // Beside 8 bytes a token, working memory that does not grow with the text: 6 MiB. A word
        // without an end takes a copy, and with offsets four more bytes for each of its own.
        const std::int64_t word = text != &endless ? 0 : with_ends ? 5 : 1;
        EXPECT_LE(taken, 8 * static_cast<std::int64_t>(ids.size()) + (std::int64_t{6} << 20) +
                             word * static_cast<std::int64_t>(text->size()))
            << (tokenizer == stories.get()      ? "stories"
                : tokenizer == byte_level.get() ? "bytes"
                                                : "words")
            << (text == &endless ? ", one word" : "") << (with_ends ? ", offsets" : "");
      }
    }
  }
}

}  // namespace
}  // namespace lowbank::tokenizers
