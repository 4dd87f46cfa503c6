#include "io/llama2c.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

using testing::TempFolder;

const std::string kStories =
    std::string(LOWBANK_SOURCE_DIR) + "/data/samples/stories260K/stories260K.bin";

struct Shape {
  std::int32_t dim = 8, hidden = 12, layers = 2, heads = 4, kv_heads = 2, vocab = 10, context = 6;
};

// A file in which value i is i, so that every tensor says where it was read.
std::string counted_file(const Shape& s) {
  const std::int64_t vocab = std::abs(s.vocab), kv = s.dim / s.heads * s.kv_heads;
  const std::int64_t layer = 2 * s.dim + 2 * s.dim * s.dim + 2 * kv * s.dim + 3 * s.dim * s.hidden;
  const std::int64_t count = vocab * s.dim * (s.vocab < 0 ? 2 : 1) + s.layers * layer + s.dim +
                             s.context * (s.dim / s.heads);
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0.0f);
  std::string bytes(sizeof(Shape) + values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), &s, sizeof(Shape));
  std::memcpy(bytes.data() + sizeof(Shape), values.data(), values.size() * sizeof(float));
  return bytes;
}

const Llama2cTensor& find(const Llama2cFile& file, const std::string& name) {
  for (const auto& tensor : file.tensors()) {
    if (tensor.name == name) return tensor;
  }
  throw std::out_of_range(name);
}

std::string message_of_opening(const std::string& path) {
  try {
    Llama2cFile::open(path);
  } catch (const IoError& error) {
    return error.what();
  }
  return "opened";
}

TEST(Llama2cFile, PutsEveryArrayUnderItsHuggingFaceName) {
  const TempFolder folder;
  const auto file = Llama2cFile::open(folder.file("a.bin", counted_file({})));
  EXPECT_EQ(file->tensors().size(), 2u + 2 * 9);
  EXPECT_FALSE(file->config().has_own_head);
  // Offsets by hand: 10 x 8 embedding; norms 2 x 8; q 2 x 64; k 2 x 32; v 2 x 32; o 2 x 64;
  // norms 2 x 8; w1 2 x 96; w2 2 x 96; w3 2 x 96; norm 8.
  const auto starts_at = [&](const std::string& name) { return find(*file, name).values[0]; };
  EXPECT_EQ(starts_at("model.embed_tokens.weight"), 0);
  EXPECT_EQ(starts_at("model.layers.1.input_layernorm.weight"), 88);
  EXPECT_EQ(starts_at("model.layers.0.self_attn.q_proj.weight"), 96);
  EXPECT_EQ(starts_at("model.layers.1.self_attn.k_proj.weight"), 256);
  EXPECT_EQ(starts_at("model.layers.0.self_attn.v_proj.weight"), 288);
  EXPECT_EQ(starts_at("model.layers.0.self_attn.o_proj.weight"), 352);
  EXPECT_EQ(starts_at("model.layers.0.post_attention_layernorm.weight"), 480);
  EXPECT_EQ(starts_at("model.layers.0.mlp.gate_proj.weight"), 496);
  EXPECT_EQ(starts_at("model.layers.0.mlp.down_proj.weight"), 688);
  EXPECT_EQ(starts_at("model.layers.1.mlp.up_proj.weight"), 976);
  EXPECT_EQ(starts_at("model.norm.weight"), 1072);
  EXPECT_EQ(find(*file, "model.layers.0.mlp.down_proj.weight").shape,
            (std::vector<std::int64_t>{8, 12}));
  EXPECT_EQ(find(*file, "model.layers.0.self_attn.k_proj.weight").num_rope_heads, 2);
  EXPECT_EQ(find(*file, "model.layers.0.self_attn.v_proj.weight").num_rope_heads, 0);
}

TEST(Llama2cFile, ANegativeVocabularyMeansAHeadOfItsOwnAtTheEnd) {
  const TempFolder folder;
  const auto file = Llama2cFile::open(folder.file("a.bin", counted_file({.vocab = -10})));
  EXPECT_TRUE(file->config().has_own_head);
  EXPECT_EQ(file->config().vocab_size, 10);
  // After the norm (1072 + 8) come cosines and sines, 6 x 1 each.
  EXPECT_EQ(find(*file, "lm_head.weight").values[0], 1092);
}

TEST(Llama2cFile, ReadsTheTrainedModel) {
  const auto file = Llama2cFile::open(kStories);
  EXPECT_EQ(file->config().dim, 64);
  EXPECT_EQ(file->config().num_kv_heads, 4);
  std::size_t num_params = 0;
  for (const auto& tensor : file->tensors()) num_params += tensor.values.size();
  EXPECT_EQ(num_params, 260032u);
}

TEST(Llama2cFile, RefusesEveryTruncationAndAnyByteMoreWithBothSizes) {
  const TempFolder folder;
  const std::string bytes = counted_file({});
  for (std::size_t size = 0; size < bytes.size(); size += 53) {
    const auto message = message_of_opening(folder.file("cut.bin", bytes.substr(0, size)));
    EXPECT_THAT(message, ::testing::HasSubstr("has " + std::to_string(size) + " bytes"));
  }
  EXPECT_THAT(message_of_opening(folder.file("cut.bin", bytes.substr(0, bytes.size() - 1))),
              ::testing::HasSubstr("describes " + std::to_string(bytes.size())));
  EXPECT_THAT(message_of_opening(folder.file("long.bin", bytes + "x")),
              ::testing::HasSubstr("longer"));
}

TEST(Llama2cFile, RefusesAbsurdHeadersBeforeItAllocatesAnything) {
  const TempFolder folder;
  const std::string good = counted_file({});
  for (std::size_t field = 0; field < 7; ++field) {
    for (const std::int32_t value : {0, -1, 7, INT32_MAX, INT32_MIN}) {
      std::string bytes = good;
      std::memcpy(bytes.data() + 4 * field, &value, sizeof(value));
      EXPECT_NE(message_of_opening(folder.file("bad.bin", bytes)), "opened")
          << "field " << field << " = " << value;
    }
  }
}

TEST(Llama2cFile, SaysWhatAnotherFormatIs) {
  const TempFolder folder;
  EXPECT_THAT(message_of_opening(folder.file("a", "24ka" + std::string(300, '\1'))),
              ::testing::HasSubstr("--version 0"));
  EXPECT_THAT(message_of_opening(folder.file("b", "GGUF" + std::string(300, '\1'))),
              ::testing::HasSubstr("GGUF"));
  EXPECT_THAT(message_of_opening(folder.path()), ::testing::HasSubstr("no regular file"));
  EXPECT_THAT(message_of_opening(folder.path("absent")), ::testing::HasSubstr("absent"));
}

TEST(RopeHalfSplit, PutsEvenRowsOfAHeadBeforeItsOddRows) {
  const std::vector<float> rows = {0, 1, 2, 3, 10, 11, 12, 13};  // two heads of four rows of one
  EXPECT_EQ(rope_half_split(rows, 2, 4), (std::vector<float>{0, 2, 1, 3, 10, 12, 11, 13}));
  const std::vector<float> wide = {0, 0.5f, 1, 1.5f, 2, 2.5f, 3, 3.5f};  // one head, rows of two
  EXPECT_EQ(rope_half_split(wide, 1, 4), (std::vector<float>{0, 0.5f, 2, 2.5f, 1, 1.5f, 3, 3.5f}));
}

}  // namespace
}  // namespace lowbank
