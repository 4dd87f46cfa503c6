#include "core/json_text_lines.h"

#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using testing::error_text;
using ::testing::HasSubstr;
using testing::TempFolder;
using Json = nlohmann::ordered_json;

std::vector<std::string> texts_of(const std::string& path) {
  JsonTextLines lines(path, "lines", "text");
  std::vector<std::string> texts;
  for (std::string text; lines.next(text);) texts.push_back(text);
  EXPECT_EQ(lines.num_lines(), texts.size());
  return texts;
}

TEST(JsonTextLines, ReadsShortAndLongTextsAsTheParserDoes) {
  const TempFolder folder;
  std::string plain, escaped, signs;
  for (int i = 0; i < 30000; ++i) {
    plain += "word \xC3\xA9, ";
    escaped += "\n\"\\\t";
    signs += "\xF0\x9F\x98\x80\xE2\x82\xAC";
  }
  const std::vector<std::string> texts = {"", "a", plain, escaped, signs, "b " + escaped + plain};
  for (const bool ascii : {false, true}) {  // signs as they are, or as \\uXXXX
    std::string content;
    for (const auto& text : texts) {
      Json line = {{"other", signs}, {"inner", {{"text", plain}}}, {"text", text}, {"last", 1}};
      content += line.dump(-1, ' ', ascii) + "\n";
      line = {{"text", text}};
      content += " " + line.dump(-1, ' ', ascii) + "\r\n";
    }
    content.pop_back();
    const auto got = texts_of(folder.file("a.jsonl", content));
    ASSERT_EQ(got.size(), 2 * texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_TRUE(got[2 * i] == texts[i]) << i;
      EXPECT_TRUE(got[2 * i + 1] == texts[i]) << i;
    }
  }
  EXPECT_EQ(texts_of(folder.file("k.jsonl", "{\"te\\u0078t\": \"" + plain + "\"}"))[0], plain);
  EXPECT_TRUE(texts_of(folder.file("empty.jsonl", "")).empty());
}

TEST(JsonTextLines, NamesTheLineThatIsNoObjectWithAText) {
  const TempFolder folder;
  const std::string text(200000, 'x');
  const auto message = [&](const std::string& line) {
    const std::string path = folder.file("a.jsonl", "{\"text\": \"a\"}\n" + line + "\n");
    return error_text<IoError>([&] { texts_of(path); });
  };
  for (const std::string& line :
       {std::string("x"), std::string(), "{\"text\": \"" + text, "{\"text\": \"" + text + "\\q\"}",
        "{\"other\": \"" + text + "\"}", "{\"text\": \"" + text + "\", \"text\": 1}",
        "{\"text\": \"\\uD800" + text + "\"}", "{\"a\": {\"text\": \"" + text + "\"}}"}) {
    EXPECT_THAT(message(line), HasSubstr("lines line 2")) << line.substr(0, 40);
  }
}

}  // namespace
}  // namespace lowbank
