#include <gtest/gtest.h>

#include "core/error.h"
#include "core/text.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"
#include "io/tensor_archive.h"
#include "temp_folder.h"

// Files of some size, cut where a download that broke off would leave them. (The tests of each
// format cut small files at every byte.)

namespace lowbank {
namespace {

const std::string kStoriesFile = LOWBANK_SOURCE_DIR "/data/samples/stories260K/stories260K.bin";

class CutFiles : public ::testing::Test {
 protected:
  void expect_refused_at_every_page(const std::string& path) {
    const std::string whole = read_bytes(path);
    ASSERT_GT(whole.size(), 50u * 4096);
    EXPECT_NO_THROW(open_archive(path));
    for (std::size_t size = 0; size < whole.size(); size += 4096) {
      const auto cut = folder_.file("cut", whole.substr(0, size));
      try {
        open_archive(cut);
        ADD_FAILURE() << path << " cut at " << size << " was opened";
      } catch (const IoError& error) {
        EXPECT_TRUE(std::string(error.what()).starts_with(cut)) << error.what();
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
    }
  }
  testing::TempFolder folder_;
  std::vector<float> values_ = std::vector<float>(30'000);
};

TEST_F(CutFiles, Llama2c) { expect_refused_at_every_page(kStoriesFile); }

TEST_F(CutFiles, Safetensors) {
  const auto bytes = std::as_bytes(std::span(values_));
  write_safetensors(folder_.path("f.safetensors"), {{"a", ElementType::kF32, {100, 300}, bytes},
                                                    {"b", ElementType::kF32, {300, 100}, bytes}});
  expect_refused_at_every_page(folder_.path("f.safetensors"));
}

TEST_F(CutFiles, Gguf) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 5000; ++i) tokens.push_back("token" + std::to_string(i));
  GgufWriter writer(folder_.path("f.gguf"), {{"tokenizer.ggml.tokens", tokens}},
                    {{.name = "a", .type = ElementType::kF32, .shape = {100, 300}},
                     {.name = "b", .type = ElementType::kF32, .shape = {300, 100}}});
  for (int i = 0; i < 2; ++i) writer.write(std::as_bytes(std::span(values_)));
  writer.commit();
  expect_refused_at_every_page(folder_.path("f.gguf"));
}

}  // namespace
}  // namespace lowbank
