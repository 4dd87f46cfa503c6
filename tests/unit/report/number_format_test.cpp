#include "report/page/number_format.h"

#include <limits>

#include <gtest/gtest.h>

#include "report/page/markup.h"

namespace lowbank::report {
namespace {

TEST(NumberFormatTest, KeepsTheAskedDigitsAndRoundsAcrossPowersOfTen) {
  EXPECT_EQ(format_number(12.345, 3), "12.3");
  EXPECT_EQ(format_number(9.9996, 4), "10.00");
  EXPECT_EQ(format_number(0.00123456, 3), "0.00123");
  EXPECT_EQ(format_number(-1234.6, 4), "-1,235");
  EXPECT_EQ(format_number(1234567, 4), "1,234,567");
  EXPECT_EQ(format_number(1.23456e-7, 3), "1.23e-7");
  EXPECT_EQ(format_number(2.5e12, 3), "2.50e12");
  EXPECT_EQ(format_number(0), "0");
}

TEST(NumberFormatTest, SaysNotAvailableForWhatIsNotFinite) {
  EXPECT_EQ(format_number(kNotReported), "n/a");
  EXPECT_EQ(format_percent(std::numeric_limits<double>::infinity()), "n/a");
  EXPECT_EQ(format_latency(kNotReported), "n/a");
  EXPECT_EQ(format_exact(kNotReported), "");
}

TEST(NumberFormatTest, PicksTheUnitThatLeavesOneToThreeDigits) {
  EXPECT_EQ(format_latency(999.6), "1.00 us");
  EXPECT_EQ(format_latency(1.5e6), "1.50 ms");
  EXPECT_EQ(format_latency(0.25), "250 ps");
  EXPECT_EQ(format_energy(3e6), "3.00 uJ");
  EXPECT_EQ(format_energy(0), "0 pJ");
  EXPECT_EQ(format_latency(1e30), "1.00e18 ks");
}

TEST(NumberFormatTest, SharesHaveNoIdleDigitsAndFoundFractionsDo) {
  EXPECT_EQ(format_share(0.05), "5 %");
  EXPECT_EQ(format_share(0.125), "12.5 %");
  EXPECT_EQ(format_percent(0.26), "26.0 %");
  EXPECT_EQ(format_percent(1), "100 %");
}

TEST(NumberFormatTest, ExactTextReadsBackAsTheSameNumber) {
  for (const double value : {0.1, 1.0 / 3, 1e-300, 123456789.123456789, -2.5e17}) {
    EXPECT_EQ(std::stod(format_exact(value)), value);
  }
}

TEST(MarkupTest, LeavesNoCharacterThatXmlWouldRead) {
  EXPECT_EQ(escape_markup("<b a=\"x\">'&"), "&lt;b a=&quot;x&quot;&gt;&#39;&amp;");
  EXPECT_EQ(escape_markup(std::string("a\0b\x1b[", 5)), R"(a\x00b\x1b[)");
  EXPECT_EQ(escape_markup("a\xC2\x9B\xE2\x80\xAE z\n\ty"), "a\\u009b\\u202e z\n\ty");
  EXPECT_EQ(escape_markup("\xff\xfe ok"), "?? ok");
  EXPECT_EQ(escape_markup("\xEF\xBF\xBE!"), "?!");
  EXPECT_EQ(escape_markup("\xC3\xA9\xEF\xBF\xBD"), "\xC3\xA9\xEF\xBF\xBD");
}

}  // namespace
}  // namespace lowbank::report
