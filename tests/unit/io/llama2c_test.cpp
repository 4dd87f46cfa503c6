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

std::vector<float> values_of(const Llama2cFile& file, const std::string& name) {
  const TensorEntry* const entry = file.find(name);
  if (entry == nullptr) throw std::out_of_range(name);
  std::vector<std::byte> scratch;
  const auto bytes = file.bytes(*entry, scratch);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
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
  EXPECT_EQ(file->entries().size(), 2u + 2 * 9);
  EXPECT_FALSE(file->config().has_own_head);
  // Offsets by hand: 10 x 8 embedding; norms 2 x 8; q 2 x 64; k 2 x 32; v 2 x 32; o 2 x 64;
  // norms 2 x 8; w1 2 x 96; w2 2 x 96; w3 2 x 96; norm 8.
  const auto starts_at = [&](const std::string& name) { return values_of(*file, name)[0]; };
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
  EXPECT_EQ(file->find("model.layers.0.mlp.down_proj.weight")->shape,
            (std::vector<std::int64_t>{8, 12}));
}

TEST(Llama2cFile, ANegativeVocabularyMeansAHeadOfItsOwnAtTheEnd) {
  const TempFolder folder;
  const auto file = Llama2cFile::open(folder.file("a.bin", counted_file({.vocab = -10})));
  EXPECT_TRUE(file->config().has_own_head);
  EXPECT_EQ(file->config().vocab_size, 10);
  // After the norm (1072 + 8) come cosines and sines, 6 x 1 each.
  EXPECT_EQ(values_of(*file, "lm_head.weight")[0], 1092);
}

TEST(Llama2cFile, ReadsTheTrainedModel) {
  const auto file = Llama2cFile::open(kStories);
  EXPECT_EQ(file->config().dim, 64);
  EXPECT_EQ(file->config().num_kv_heads, 4);
  std::size_t num_params = 0;
  for (const auto& entry : file->entries()) num_params += entry.size_bytes / 4;
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
  EXPECT_THAT(
      message_of_opening(folder.file("a", std::string("24ka\2\0\0\0", 8) + std::string(300, '\1'))),
      ::testing::HasSubstr("version 2 (quantised to int8)"));
  EXPECT_THAT(message_of_opening(folder.file("b", "GGUF" + std::string(300, '\1'))),
              ::testing::HasSubstr("GGUF"));
  EXPECT_THAT(message_of_opening(folder.path()), ::testing::HasSubstr("is a folder"));
  EXPECT_THAT(message_of_opening(folder.path("absent")), ::testing::HasSubstr("absent"));
}

TEST(Llama2cFile, RowsOfQueryAndKeyComeInHuggingFacesOrder) {
  const TempFolder folder;
  const auto file =
      Llama2cFile::open(folder.file("a.bin", counted_file({.dim = 8, .heads = 2, .kv_heads = 1})));
  // Heads of four rows: even rows come before odd ones. Rows have 8 values.
  const auto query = values_of(*file, "model.layers.0.self_attn.q_proj.weight");
  const auto key = values_of(*file, "model.layers.0.self_attn.k_proj.weight");
  for (const auto& values : {query, key}) {
    EXPECT_EQ(values[8] - values[0], 16);
    EXPECT_EQ(values[16] - values[0], 8);
    EXPECT_EQ(values[24] - values[0], 24);
  }
  EXPECT_EQ(query[32] - query[0], 32);
}

TEST(Llama2cFile, Version1HoldsTheSameTensorsInAnotherOrder) {
  const TempFolder folder;
  for (const bool has_own_head : {false, true}) {
    const Shape shape;
    const std::int64_t kv = 4, layers = 2;
    const std::int64_t count =
        10 * 8 * (has_own_head ? 2 : 1) + 8 + layers * (2 * 8 + 2 * 64 + 2 * kv * 8 + 3 * 96);
    std::vector<float> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), 0.0f);
    std::string bytes(256, '\0');
    bytes.replace(0, 8, std::string("24ka\1\0\0\0", 8));
    std::memcpy(bytes.data() + 8, &shape, sizeof shape);
    bytes[36] = has_own_head ? 0 : 1;
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    const auto file = Llama2cFile::open(folder.file("v1.bin", bytes));
    EXPECT_EQ(file->config().has_own_head, has_own_head);
    const auto starts_at = [&](const std::string& name) { return values_of(*file, name)[0]; };
    EXPECT_EQ(starts_at("model.layers.1.input_layernorm.weight"), 8);
    EXPECT_EQ(starts_at("model.layers.0.post_attention_layernorm.weight"), 16);
    EXPECT_EQ(starts_at("model.norm.weight"), 32);
    EXPECT_EQ(starts_at("model.embed_tokens.weight"), 40);
    EXPECT_EQ(starts_at("model.layers.0.self_attn.q_proj.weight"), 120);
    EXPECT_EQ(starts_at("model.layers.0.self_attn.v_proj.weight"), 312);
    EXPECT_EQ(starts_at("model.layers.0.mlp.gate_proj.weight"), 504);
    EXPECT_EQ(starts_at("model.layers.0.mlp.down_proj.weight"), 696);
    EXPECT_EQ(starts_at("model.layers.1.mlp.up_proj.weight"), 984);
    if (has_own_head) {
      EXPECT_EQ(starts_at("lm_head.weight"), 1080);
    }
    EXPECT_THAT(message_of_opening(folder.file("cut.bin", bytes.substr(0, bytes.size() - 4))),
                ::testing::HasSubstr("truncated"));
    EXPECT_NE(open_archive(folder.path("v1.bin"))->find("model.norm.weight"), nullptr);
    try {
      open_archive(folder.path("cut.bin"));
      ADD_FAILURE() << "was opened";
    } catch (const IoError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("truncated"));
    }
  }
}

}  // namespace
}  // namespace lowbank
