#include "io/safetensors.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/text.h"
#include "error_text.h"
#include "temp_folder.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempFolder;

std::string little_endian_u64(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return little_endian_u64(header.size()) + header + data;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

class SafetensorsTest : public ::testing::Test {
 protected:
  std::string open_error(const std::string& bytes) {
    const std::string path = folder.file("f.safetensors", bytes);
    const std::string message = error_text<IoError>([&] { SafetensorsFile::open(path); });
    EXPECT_TRUE(message == "no error" || message.starts_with(path)) << message;
    return message;
  }
  std::string open_error(const std::string& header, const std::string& data) {
    return open_error(safetensors_bytes(header, data));
  }
  TempFolder folder;
};

TEST_F(SafetensorsTest, WhatIsWrittenReadsBack) {
  const std::vector<float> a = {1.5f, -0.0f, std::numeric_limits<float>::quiet_NaN(), 3, 4, 5};
  const std::vector<std::int64_t> b = {-7};
  const std::vector<std::uint8_t> c = {1, 2, 3};
  const std::string path = folder.path("f.safetensors");
  write_safetensors(path,
                    {{"c", ElementType::kU8, {3}, bytes_of(c)},
                     {"a", ElementType::kF32, {2, 3}, bytes_of(a)},
                     {"scalar", ElementType::kI64, {}, bytes_of(b)},
                     {"empty", ElementType::kF16, {0, 4}, {}}},
                    {{"made_by", "a \"test\""}});
  const auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file->metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"made_by", "a \"test\""}}));
  ASSERT_EQ(file->entries().size(), 4u);
  const TensorEntry* const entry = file->find("a");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->type, ElementType::kF32);
  EXPECT_THAT(entry->shape, ElementsAre(2, 3));
  const auto bytes = file->bytes(*entry);
  ASSERT_EQ(bytes.size(), 24u);
  EXPECT_EQ(std::memcmp(bytes.data(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp(file->bytes(*file->find("scalar")).data(), b.data(), 8), 0);
  EXPECT_THAT(file->find("scalar")->shape, IsEmpty());
  EXPECT_THAT(file->find("empty")->shape, ElementsAre(0, 4));
  EXPECT_EQ(file->bytes(*file->find("empty")).size(), 0u);
  EXPECT_EQ(file->find("b"), nullptr);
}

TEST_F(SafetensorsTest, TensorsAreAlignedToTheirElements) {
  const std::vector<std::uint8_t> odd = {1};
  const std::vector<double> wide = {2.0};
  const std::string path = folder.path("f.safetensors");
  write_safetensors(path, {{"a", ElementType::kU8, {1}, bytes_of(odd)},
                           {"b", ElementType::kF64, {1}, bytes_of(wide)}});
  const auto file = SafetensorsFile::open(path);
  const auto* const start = file->bytes(*file->find("b")).data();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(start) % 8, 0u);
  EXPECT_EQ(file->entries().front().name, "b");
}

TEST_F(SafetensorsTest, EveryElementTypeReadsBackUnderItsName) {
  std::vector<TensorToWrite> tensors;
  const std::vector<std::uint64_t> zeros = {0, 0};
  for (int i = 0; i <= static_cast<int>(ElementType::kF8E5m2); ++i) {
    const auto type = static_cast<ElementType>(i);
    const auto size = static_cast<std::size_t>(2 * block_bytes(type));
    tensors.push_back(
        {std::string(element_type_name(type)), type, {2}, bytes_of(zeros).first(size)});
  }
  const std::string path = folder.path("f.safetensors");
  write_safetensors(path, tensors);
  const auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file->entries().size(), 16u);
  for (const auto& entry : file->entries()) EXPECT_EQ(entry.name, element_type_name(entry.type));
}

TEST_F(SafetensorsTest, TheFileOutlivesTheViewsOwner) {
  const std::vector<float> a = {1, 2};
  write_safetensors(folder.path("f"), {{"a", ElementType::kF32, {2}, bytes_of(a)}});
  auto file = SafetensorsFile::open(folder.path("f"));
  const auto copy = file;
  const auto bytes = file->bytes(*file->find("a"));
  file.reset();
  fs::remove(folder.path("f"));
  EXPECT_EQ(std::memcmp(bytes.data(), a.data(), 8), 0);
}

TEST_F(SafetensorsTest, APaddedHeaderAndAnyOrderOfKeysAreValid) {
  EXPECT_EQ(open_error(R"({"b":{"data_offsets":[4,8],"dtype":"F32","shape":[1]},)"
                       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   )",
                       "12345678"),
            "no error");
  EXPECT_EQ(open_error("{}", ""), "no error");
}

TEST_F(SafetensorsTest, AFileTooShortForItsHeaderIsRefused) {
  EXPECT_THAT(open_error(""), HasSubstr("0 bytes, at least 8"));
  EXPECT_THAT(open_error("1234567"), HasSubstr("7 bytes, at least 8"));
  EXPECT_THAT(open_error(little_endian_u64(3) + "{}"), HasSubstr("header of 3 bytes"));
  EXPECT_THAT(open_error(little_endian_u64(UINT64_MAX) + "{}"), HasSubstr("header of"));
  EXPECT_THAT(open_error(little_endian_u64(100'000'001) + "{}"), HasSubstr("header of"));
  EXPECT_THAT(open_error(little_endian_u64(0)), HasSubstr("does not begin with '{'"));
}

TEST_F(SafetensorsTest, AHeaderThatIsNotOneObjectIsRefused) {
  EXPECT_THAT(open_error(" {}", ""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(open_error("\xEF\xBB\xBF{}", ""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(open_error("[]", ""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(open_error("{", ""), HasSubstr("header: parse error"));
  EXPECT_THAT(open_error("{}{}", ""), HasSubstr("header: parse error"));
  EXPECT_THAT(open_error("{\"a\xFF\":1}", ""), HasSubstr("header: parse error"));
  EXPECT_THAT(open_error("{\"a\":" + std::string(1000, '['), ""), HasSubstr("nested deeper"));
}

TEST_F(SafetensorsTest, ATensorThatStandsTwiceIsRefused) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(open_error("{\"a\":" + entry + ",\"a\":" + entry + "}", "x"),
              HasSubstr("'a' stands twice"));
}

TEST_F(SafetensorsTest, AMalformedEntryIsNamed) {
  const auto with = [&](const std::string& entry) {
    return open_error("{\"a\":" + entry + "}", "1234");
  };
  EXPECT_EQ(with(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "no error");
  EXPECT_THAT(with("3"), HasSubstr("tensor 'a': must be a JSON object; got 3"));
  EXPECT_THAT(with(R"({"shape":[1],"data_offsets":[0,4]})"), HasSubstr("'dtype' is missing"));
  EXPECT_THAT(with(R"({"dtype":"F32","data_offsets":[0,4]})"), HasSubstr("'shape' is missing"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":[1]})"), HasSubstr("'data_offsets' is missing"));
  EXPECT_THAT(with(R"({"dtype":1,"shape":[1],"data_offsets":[0,4]})"),
              HasSubstr("dtype: must be a string"));
  EXPECT_THAT(with(R"({"dtype":"F4","shape":[1],"data_offsets":[0,4]})"), HasSubstr("'F4'"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"),
              HasSubstr("shape: must be a list"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), HasSubstr("got -1"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), HasSubstr("got 1.0"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), HasSubstr("two numbers"));
  EXPECT_THAT(with(R"({"dtype":"F32","shape":[1],"data_offsets":[0,-4]})"), HasSubstr("got -4"));
}

TEST_F(SafetensorsTest, OffsetsMustHoldTheShapeExactly) {
  EXPECT_THAT(open_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
              HasSubstr("[0, 4] do not hold the 8 bytes of F32 [2]"));
  EXPECT_THAT(open_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234"),
              HasSubstr("[4, 0] do not hold"));
}

TEST_F(SafetensorsTest, AShapeWhoseProductOverflowsIsRefused) {
  const auto with = [&](const std::string& shape) {
    return open_error(
        fmt::format(R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":[0,0]}}}})", shape), "");
  };
  for (const auto* shape : {"[4294967296,4294967296]", "[4611686018427387904]"}) {
    EXPECT_THAT(with(shape), HasSubstr("larger than any memory")) << shape;
  }
  for (const auto* length : {"18446744073709551615", "9223372036854775808"}) {
    EXPECT_THAT(with(fmt::format("[{}]", length)),
                HasSubstr(fmt::format("shape[0]: must be a whole number >= 0; got {}", length)));
  }
}

TEST_F(SafetensorsTest, HolesOverlapsAndALateStartAreRefused) {
  const auto two = [&](const std::string& a, const std::string& b, const std::string& data) {
    return open_error(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
                          R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}",
                      data);
  };
  EXPECT_EQ(two("[0,2]", "[2,4]", "1234"), "no error");
  EXPECT_THAT(two("[0,2]", "[3,5]", "12345"), HasSubstr("'b' begins at byte 3"));
  EXPECT_THAT(two("[0,2]", "[1,3]", "123"), HasSubstr("neither overlap nor leave holes"));
  EXPECT_THAT(two("[0,2]", "[0,2]", "12"), HasSubstr("neither overlap nor leave holes"));
  EXPECT_THAT(two("[1,3]", "[3,5]", "12345"), HasSubstr("'a' begins at byte 1"));
}

TEST_F(SafetensorsTest, TheFileEndsWithItsLastTensor) {
  const std::string header = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  EXPECT_THAT(open_error(header, "123"), HasSubstr("is cut off: tensor 'a' ends at byte 4"));
  EXPECT_THAT(open_error(header, "12345"), HasSubstr("1 bytes follow the last tensor"));
  EXPECT_THAT(open_error(R"({"a":{"dtype":"U8","shape":[9223372036854775807],)"
                         R"("data_offsets":[0,9223372036854775807]}})",
                         "x"),
              HasSubstr("is cut off"));
}

TEST_F(SafetensorsTest, MetadataIsAMapOfStrings) {
  EXPECT_THAT(open_error(R"({"__metadata__":{"a":1}})", ""),
              HasSubstr("__metadata__.a: must be a string"));
  EXPECT_THAT(open_error(R"({"__metadata__":[]})", ""),
              HasSubstr("__metadata__: must be a JSON object"));
}

TEST_F(SafetensorsTest, EveryPrefixOfAFileIsRefused) {
  const std::vector<float> a = {1, 2, 3};
  write_safetensors(folder.path("whole"), {{"a", ElementType::kF32, {3}, bytes_of(a)}});
  const std::string whole = read_bytes(folder.path("whole"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(open_error(whole.substr(0, size)), "no error") << size;
  }
}

TEST_F(SafetensorsTest, WhatIsNoRegularFileIsRefusedAtOnce) {
  EXPECT_THAT(error_text<IoError>([&] { SafetensorsFile::open(folder.path("none")); }),
              HasSubstr("none: cannot open"));
  EXPECT_THAT(error_text<IoError>([&] { SafetensorsFile::open(folder.path()); }),
              HasSubstr("is a folder"));
  ASSERT_EQ(mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_text<IoError>([&] { SafetensorsFile::open(folder.path("pipe")); }),
              HasSubstr("is no regular file"));
}

TEST_F(SafetensorsTest, NamesThatSteerATerminalAndEndlessShapesAreRefused) {
  const std::vector<float> a = {1};
  const std::string path = folder.path("f.safetensors");
  write_safetensors(path, {{"bad\x1b[31m", ElementType::kF32, {1}, bytes_of(a)}});
  EXPECT_THAT(error_text<IoError>([&] { SafetensorsFile::open(path); }),
              HasSubstr("control characters"));
  write_safetensors(path,
                    {{"a", ElementType::kF32, std::vector<std::int64_t>(65, 1), bytes_of(a)}});
  EXPECT_THAT(error_text<IoError>([&] { SafetensorsFile::open(path); }),
              HasSubstr("at most 64 lengths"));
}

TEST_F(SafetensorsTest, TheWriterRefusesWhatDoesNotFitTogether) {
  const std::vector<float> a = {1, 2};
  const std::string path = folder.path("f");
  const auto write = [&](std::vector<TensorToWrite> tensors) {
    return error_text<std::invalid_argument>([&] { write_safetensors(path, tensors); });
  };
  EXPECT_THAT(write({{"a", ElementType::kF32, {3}, bytes_of(a)}}), HasSubstr("'a' has 8 bytes"));
  EXPECT_THAT(write({{"a", ElementType::kF32, {2}, bytes_of(a)},
                     {"a", ElementType::kF32, {2}, bytes_of(a)}}),
              HasSubstr("'a' is taken"));
  EXPECT_THAT(write({{"__metadata__", ElementType::kF32, {2}, bytes_of(a)}}),
              HasSubstr("is taken"));
  EXPECT_THAT(write({{"a", ElementType::kF32, {-2}, bytes_of(a)}}), HasSubstr("shape [-2]"));
  EXPECT_FALSE(fs::exists(path));
}

class ShardsTest : public SafetensorsTest {
 protected:
  ShardsTest() {
    write_safetensors(folder.path("1.safetensors"),
                      {{"a", ElementType::kF32, {2}, bytes_of(values)}});
    write_safetensors(folder.path("2.safetensors"),
                      {{"b", ElementType::kF32, {2}, bytes_of(values)}});
  }
  std::string index_error(const std::string& index) {
    folder.file("model.safetensors.index.json", index);
    return error_text<IoError>([&] { open_weights_folder(folder.path()); });
  }
  const std::vector<float> values = {1, 2};
};

TEST_F(ShardsTest, ShardsAreOpenedAsTheIndexNamesThem) {
  EXPECT_EQ(index_error(R"({"metadata": {"total_size": 16},
                            "weight_map": {"b": "2.safetensors", "a": "1.safetensors"}})"),
            "no error");
  const auto shards = open_weights_folder(folder.path());
  ASSERT_EQ(shards->entries().size(), 2u);
  for (const auto* name : {"a", "b"}) {
    const auto* const entry = shards->find(name);
    ASSERT_NE(entry, nullptr);
    std::vector<std::byte> scratch;
    EXPECT_TRUE(std::ranges::equal(shards->bytes(*entry, scratch), bytes_of(values)));
  }
}

TEST_F(ShardsTest, AnIndexThatLiesIsRefused) {
  EXPECT_THAT(index_error("[]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": 1}})"),
              HasSubstr("weight_map.a: must be a string; got 1"));
  for (const auto* name : {"../1.safetensors", "/etc/passwd", "..", "", "sub/1.safetensors"}) {
    EXPECT_THAT(index_error(fmt::format(R"({{"weight_map": {{"a": "{}"}}}})", name)),
                HasSubstr("is no file of this folder"))
        << name;
  }
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "2.safetensors"}})"),
              HasSubstr("weight_map.a: is not in 2.safetensors"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "3.safetensors"}})"),
              HasSubstr("3.safetensors: cannot open"));
  write_safetensors(folder.path("2.safetensors"),
                    {{"b", ElementType::kF32, {2}, bytes_of(values)},
                     {"c", ElementType::kF32, {2}, bytes_of(values)}});
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})"),
              HasSubstr("names 2 tensors, its files hold 3"));
}

TEST_F(ShardsTest, OneFileNeedsNoIndexAndNoneIsNamed) {
  EXPECT_THAT(error_text<IoError>([&] { open_weights_folder(folder.path()); }),
              HasSubstr("neither model.safetensors nor pytorch_model.bin"));
  fs::rename(folder.path("1.safetensors"), folder.path("model.safetensors"));
  EXPECT_EQ(open_weights_folder(folder.path())->entries().size(), 1u);
}

TEST_F(ShardsTest, ATensorInTwoShardsIsRefused) {
  write_safetensors(folder.path("2.safetensors"),
                    {{"a", ElementType::kF32, {2}, bytes_of(values)},
                     {"b", ElementType::kF32, {2}, bytes_of(values)}});
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})"),
              HasSubstr("names 2 tensors, its files hold 3"));
}

TEST_F(SafetensorsTest, AWriterTakesValuesInPiecesAndWantsAllOfThem) {
  const std::vector<float> a = {1, 2, 3};
  const std::vector<std::uint8_t> b = {4, 5};
  const std::string path = folder.path("f");
  SafetensorsWriter writer(path, {{.name = "b", .type = ElementType::kU8, .shape = {2}},
                                  {.name = "a", .type = ElementType::kF32, .shape = {3}}});
  ASSERT_EQ(writer.order()[0].name, "a");
  writer.write(bytes_of(a).first(5));
  writer.write(bytes_of(a).subspan(5));
  EXPECT_THROW(writer.commit(), std::logic_error);
  EXPECT_THROW(writer.write(bytes_of(a)), std::logic_error);
  writer.write(std::as_bytes(std::span(b)));
  EXPECT_FALSE(fs::exists(path));
  writer.commit();
  const auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(std::ranges::equal(file->bytes(*file->find("a")), bytes_of(a)));
  EXPECT_TRUE(std::ranges::equal(file->bytes(*file->find("b")), std::as_bytes(std::span(b))));
}

}  // namespace
}  // namespace lowbank
