#include "io/convert_values.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>

#include "io/gguf.h"
#include "io/safetensors.h"

namespace lowbank {
namespace {

constexpr const char* kGgufFixtureVersion = "1";
const std::string kGgufFixture = LOWBANK_SOURCE_DIR "/tests/parity/fixtures/gguf/";

std::vector<float> to_floats(ElementType type, std::span<const std::byte> stored,
                             std::size_t count) {
  std::vector<float> out(count);
  values_to_f32(type, stored, out);
  return out;
}

template <class T>
float convert_one(ElementType type, T stored) {
  return to_floats(type, std::as_bytes(std::span(&stored, 1)), 1)[0];
}

std::uint16_t convert_to_16_bits(ElementType type, float value) {
  std::uint16_t bits = 0;
  f32_to_values(type, {&value, 1}, std::as_writable_bytes(std::span(&bits, 1)));
  return bits;
}

class GgufParity : public ::testing::Test {
 protected:
  void SetUp() override {
    gguf_ = GgufFile::open(kGgufFixture + "quants.gguf");
    expected_ = SafetensorsFile::open(kGgufFixture + "expected.safetensors");
    ASSERT_EQ(gguf_->text("test.version"), kGgufFixtureVersion)
        << "run tests/parity/make_gguf_fixture.py";
  }
  std::vector<float> expected(const std::string& name) const {
    const auto bytes = expected_->bytes(*expected_->find(name));
    std::vector<float> out(bytes.size() / sizeof(float));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
  std::span<const std::byte> stored(const std::string& name) {
    return gguf_->bytes(*gguf_->find(name), scratch_);
  }

  std::shared_ptr<const GgufFile> gguf_;
  std::shared_ptr<const SafetensorsFile> expected_;
  std::vector<std::byte> scratch_;
};

TEST_F(GgufParity, EveryQuantisedTypeGivesTheValuesOfTheGgufPackage) {
  for (const auto& entry : gguf_->entries()) {
    const auto want = expected(entry.name);
    const auto got = to_floats(entry.type, stored(entry.name), want.size());
    // The same operations in the same order in float32: equal to the last bit.
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
          << entry.name << " value " << i << ": " << got[i] << " for " << want[i];
    }
  }
}

TEST_F(GgufParity, QuantisedBlocksAreThoseOfTheGgufPackage) {
  const auto source = expected("source");
  for (const auto* name : {"F16", "BF16", "Q8_0", "Q4_0"}) {
    const auto want = stored(std::string("source_as_") + name);
    std::vector<std::byte> got(want.size());
    f32_to_values(*find_element_type(name), source, got);
    EXPECT_TRUE(std::ranges::equal(got, want)) << name;
  }
}

TEST_F(GgufParity, MetadataOfEveryKindIsReadAsWritten) {
  EXPECT_EQ(gguf_->integer("test.u8"), 200);
  EXPECT_EQ(gguf_->integer("test.i8"), -7);
  EXPECT_EQ(gguf_->integer("test.u16"), 60000);
  EXPECT_EQ(gguf_->integer("test.i16"), -30000);
  EXPECT_EQ(gguf_->integer("test.u32"), 4'000'000'000);
  EXPECT_EQ(gguf_->integer("test.i32"), -2'000'000'000);
  EXPECT_THROW(gguf_->integer("test.u64"), std::exception);  // 2^63 is no int64
  EXPECT_EQ(gguf_->integer("test.i64"), -(std::int64_t{1} << 62));
  EXPECT_EQ(gguf_->number("test.f32"), 0.5);
  EXPECT_EQ(gguf_->number("test.f64"), 1e-300);
  EXPECT_TRUE(gguf_->flag("test.bool", false));
  EXPECT_THAT(gguf_->texts("test.texts"), ::testing::ElementsAre("a", "", "caf\xC3\xA9"));
  EXPECT_THAT(gguf_->integers("test.integers"), ::testing::ElementsAre(1, -2, 3));
  EXPECT_THAT(gguf_->numbers("test.numbers"), ::testing::ElementsAre(0.25f, -1.5f));
}

TEST(ConvertValues, EveryFloat16SurvivesTheWayThereAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = convert_one(ElementType::kF16, half);
    if ((bits & 0x7FFF) > 0x7C00) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(convert_to_16_bits(ElementType::kF16, value), half) << value;
    }
  }
  EXPECT_EQ(convert_one(ElementType::kF16, std::uint16_t{0x7C00}),
            std::numeric_limits<float>::infinity());
  EXPECT_EQ(convert_one(ElementType::kF16, std::uint16_t{1}), 0x1p-24f);
}

TEST(ConvertValues, RoundingGoesToTheNearestFloat16AndTiesToEven) {
  std::mt19937 random(7);
  std::uniform_int_distribution<std::uint32_t> draw(0, 0x477F'EFFF);  // up to 65519.99
  for (int i = 0; i < 100'000; ++i) {
    const float value = std::bit_cast<float>(draw(random));
    const auto half = convert_to_16_bits(ElementType::kF16, value);
    const float here = convert_one(ElementType::kF16, half);
    const float error = std::fabs(here - value);
    for (const int step : {-1, 1}) {
      const auto neighbour = static_cast<std::uint16_t>(half + step);
      if (neighbour >= 0x7C00) continue;
      const float other = std::fabs(convert_one(ElementType::kF16, neighbour) - value);
      ASSERT_TRUE(error < other || (error == other && half % 2 == 0)) << value;
    }
  }
  EXPECT_EQ(convert_to_16_bits(ElementType::kF16, 65519.0f), 0x7BFF);
  EXPECT_EQ(convert_to_16_bits(ElementType::kF16, 65520.0f), 0x7C00);
  EXPECT_EQ(convert_to_16_bits(ElementType::kF16, -1e30f), 0xFC00);
}

TEST(ConvertValues, SmallTypesHaveTheirPublishedValues) {
  EXPECT_EQ(convert_one(ElementType::kF8E4m3, std::uint8_t{0x7E}), 448.0f);
  EXPECT_EQ(convert_one(ElementType::kF8E4m3, std::uint8_t{0x01}), 0x1p-9f);
  EXPECT_EQ(convert_one(ElementType::kF8E4m3, std::uint8_t{0xB8}), -1.0f);
  EXPECT_TRUE(std::isnan(convert_one(ElementType::kF8E4m3, std::uint8_t{0x7F})));
  EXPECT_EQ(convert_one(ElementType::kF8E5m2, std::uint8_t{0x7B}), 57344.0f);
  EXPECT_EQ(convert_one(ElementType::kF8E5m2, std::uint8_t{0x01}), 0x1p-16f);
  EXPECT_EQ(convert_one(ElementType::kI64, std::int64_t{-5}), -5.0f);
  EXPECT_EQ(convert_one(ElementType::kBool, std::uint8_t{1}), 1.0f);
  EXPECT_EQ(convert_to_16_bits(ElementType::kBf16, 1.00390625f), 0x3F80);  // a tie: to even
  EXPECT_EQ(convert_to_16_bits(ElementType::kBf16, std::nanf("")) & 0x7FFF, 0x7FC0);
}

TEST(ConvertValues, SizesThatDisagreeAreACallersMistake) {
  std::vector<std::byte> block(18);
  std::vector<float> out(31);
  EXPECT_THROW(values_to_f32(ElementType::kQ40, block, out), std::invalid_argument);
  EXPECT_THROW(
      values_to_f32(ElementType::kC64, std::span(block).first(16), std::span(out).first(2)),
      std::invalid_argument);
  EXPECT_THROW(f32_to_values(ElementType::kQ41, out, block), std::invalid_argument);
}

TEST(ConvertValues, ABlockOfNumbersTooSmallToDivideByIsZero) {
  const std::vector<float> tiny(32, std::numeric_limits<float>::denorm_min());
  for (const auto type : {ElementType::kQ80, ElementType::kQ40}) {
    std::vector<std::byte> block(static_cast<std::size_t>(block_bytes(type)));
    f32_to_values(type, tiny, block);
    EXPECT_THAT(to_floats(type, block, 32), ::testing::Each(0.0f));
  }
}

}  // namespace
}  // namespace lowbank
