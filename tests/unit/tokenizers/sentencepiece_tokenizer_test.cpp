#include "tokenizers/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/text.h"
#include "temp_folder.h"

namespace lowbank::tokenizers {
namespace {

using testing::TempFolder;
using Ids = std::vector<std::int64_t>;

const std::string kModel =
    std::string(LOWBANK_SOURCE_DIR) + "/data/samples/stories260K/tok512.model";

// Words, tabs, line ends, accents, characters that only byte tokens can spell, digits.
const std::vector<std::string> kTexts = {
    "Once upon a time, there was a little girl named Lily.",
    "a tab\tand\nlines\n\n",
    "caf\xC3\xA9 na\xC3\xAFve \xE2\x82\xAC 3.14159 \xE6\x97\xA5\xE6\x9C\xAC",
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC!",
    "a",
    "",
};

std::string joined_pieces(const Tokenizer& tokenizer, const Ids& ids) {
  std::string text;
  std::int64_t previous = -1;
  for (const auto id : ids) {
    text += tokenizer.decode_piece(previous, id);
    previous = id;
  }
  return text;
}

TEST(SentencepieceTokenizer, DecodeUndoesEncode) {
  const auto tokenizer = open_tokenizer(kModel);
  for (const auto& text : kTexts) EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST(SentencepieceTokenizer, PiecesJoinToTheDecodedTextWithAndWithoutAStartToken) {
  const auto tokenizer = open_tokenizer(kModel);
  for (const auto& text : kTexts) {
    EXPECT_EQ(joined_pieces(*tokenizer, tokenizer->encode(text)), text);
    EXPECT_EQ(joined_pieces(*tokenizer, tokenizer->encode(text, /*add_special=*/true)), text);
  }
}

TEST(SentencepieceTokenizer, DropsExtraSpacesWhereTheModelSaysSo) {
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_EQ(tokenizer->encode("  two  spaces "), tokenizer->encode("two spaces"));
  EXPECT_TRUE(tokenizer->encode(" ").empty());
  EXPECT_EQ(tokenizer->encode_with_offsets(" two").ends.back(), 4);
}

TEST(SentencepieceTokenizer, GivesTheIdsThatTheLlama2cProgramGives) {
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  // Pieces by hand from tok512.model: "_Once", "_up", "on", "_a", "_time".
  EXPECT_EQ(tokenizer->encode("Once upon a time"), (Ids{403, 407, 261, 378}));
}

TEST(SentencepieceTokenizer, SpecialTokensFollowTheTokenizerConfig) {
  const TempFolder folder;
  folder.file("tokenizer.model", read_bytes(kModel));
  const auto plain = open_tokenizer(folder.path())->encode("hello");
  const auto with = [&](const std::string& config) {
    folder.file("tokenizer_config.json", config);
    return open_tokenizer(folder.path())->encode("hello", /*add_special=*/true);
  };
  Ids bos = plain;
  bos.insert(bos.begin(), 1);
  EXPECT_EQ(with("{}"), bos);
  EXPECT_EQ(with(R"({"add_bos_token": false})"), plain);
  Ids both = bos;
  both.push_back(2);
  EXPECT_EQ(with(R"({"tokenizer_class": "LlamaTokenizer", "add_eos_token": true})"), both);
}

TEST(SentencepieceTokenizer, OffsetsCutTheTextIntoTheTokensOwnParts) {
  const auto tokenizer = open_tokenizer(kModel);
  for (const auto& text : kTexts) {
    const auto encoding = tokenizer->encode_with_offsets(text, /*add_special=*/true);
    EXPECT_EQ(encoding.ids, tokenizer->encode(text, /*add_special=*/true));
    ASSERT_EQ(encoding.ends.size(), encoding.ids.size());
    std::int64_t begin = 0;
    for (const auto end : encoding.ends) {
      EXPECT_LE(begin, end);
      begin = end;
    }
    EXPECT_EQ(begin, static_cast<std::int64_t>(text.size()));
  }
  EXPECT_EQ(tokenizer->encode_with_offsets("Once upon a time").ends,
            (std::vector<std::int64_t>{4, 9, 11, 16}));
}

TEST(SentencepieceTokenizer, RefusesIdsOutsideTheVocabulary) {
  const auto tokenizer = open_tokenizer(kModel);
  EXPECT_THROW(tokenizer->decode(Ids{5, 512}), ConfigError);
  EXPECT_THROW(tokenizer->decode(Ids{-1}), ConfigError);
  EXPECT_THROW(tokenizer->decode_piece(1, 512), ConfigError);
}

std::string message_of_opening(const std::string& path) {
  try {
    open_tokenizer(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "opened";
}

TEST(OpenTokenizer, FindsTheModelInACheckpointAndInARunFolder) {
  const TempFolder folder;
  std::filesystem::create_directories(folder.path("run/checkpoint"));
  folder.file("run/checkpoint/tokenizer.model", read_bytes(kModel));
  EXPECT_EQ(open_tokenizer(folder.path("run"))->vocab_size(), 512);
  EXPECT_EQ(open_tokenizer(folder.path("run/checkpoint"))->vocab_size(), 512);
  EXPECT_TRUE(has_tokenizer(folder.path("run")));
  EXPECT_FALSE(has_tokenizer(folder.path()));
}

TEST(OpenTokenizer, SaysWhatIsWrongAndWhatIsSupported) {
  const TempFolder folder;
  const auto says = [](const std::string& message, const std::string& words) {
    return message.find(words) != std::string::npos && message.find('\n') == std::string::npos;
  };
  EXPECT_PRED2(says, message_of_opening(folder.path("absent.model")), "absent.model");
  EXPECT_PRED2(says, message_of_opening(folder.path()), "supported are tokenizer.json");
  folder.file("tokenizer.json", "{}");
  EXPECT_PRED2(says, message_of_opening(folder.path()), "tokenizer.json: key 'model' is missing");
  std::filesystem::remove(folder.path("tokenizer.json"));
  EXPECT_PRED2(says, message_of_opening(folder.file("a.model", "")), "no sentencepiece model");
  EXPECT_PRED2(says, message_of_opening(folder.file("b.model", "IQ== 0\nIg== 3\n")),
               "ranks must be in [0, 2)");
  folder.file("tokenizer.model", read_bytes(kModel));
  folder.file("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})");
  EXPECT_PRED2(says, message_of_opening(folder.path()), "T5Tokenizer");
  folder.file("tokenizer_config.json", R"({"add_bos_token": 1})");
  EXPECT_PRED2(says, message_of_opening(folder.path()), "add_bos_token");
}

TEST(OpenTokenizer, SurvivesAModelCutAnywhere) {
  const TempFolder folder;
  const std::string model = read_bytes(kModel);
  for (std::size_t size = 0; size < model.size(); size += 97) {
    const std::string path = folder.file("cut.model", model.substr(0, size));
    // Some cuts fall between two records and leave a smaller model.
    try {
      open_tokenizer(path)->encode("hello");
    } catch (const IoError&) {
    }
  }
}

}  // namespace
}  // namespace lowbank::tokenizers
