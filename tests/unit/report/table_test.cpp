#include "report/page/table.h"

#include <gtest/gtest.h>

#include "markup_checker.h"

namespace lowbank::report {
namespace {

const Provenance kMeasured = {.device = "Xeon, 2 GHz", .date = "2026-01-31"};
const Provenance kModelled = {
    .kind = Provenance::Kind::kModelled, .mode = "physical", .source = "gpu.json"};

Table sample_table() {
  return {.id = "t",
          .caption = "A <caption>",
          .columns = {{"name", "name"}, {"latency_ns", "latency", CellFormat::kLatency}}};
}

// Reads one CSV line the way RFC 4180 says.
std::vector<std::string> read_csv_line(const std::string& text, std::size_t& at) {
  std::vector<std::string> fields(1);
  bool is_quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"' && is_quoted && at + 1 < text.size() && text[at + 1] == '"') {
      fields.back() += '"';
      ++at;
    } else if (c == '"') {
      is_quoted = !is_quoted;
    } else if (c == ',' && !is_quoted) {
      fields.emplace_back();
    } else if (c == '\n' && !is_quoted) {
      ++at;
      break;
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

TEST(TableTest, CsvReadsBackAsTheSameTextAndTheSameNumber) {
  Table table = sample_table();
  const std::string nasty = "a \"quoted\", two\nlines";
  table.add({nasty, 1.0 / 3}, kMeasured);
  table.add({std::string("plain"), {}}, kModelled);
  const std::string csv = table_csv(table);
  std::size_t at = 0;
  EXPECT_EQ(read_csv_line(csv, at),
            (std::vector<std::string>{"name", "latency_ns", "provenance", "provenance_detail"}));
  const auto first = read_csv_line(csv, at);
  EXPECT_EQ(first[0], nasty);
  EXPECT_EQ(std::stod(first[1]), 1.0 / 3);
  EXPECT_EQ(first[2], "measured");
  EXPECT_EQ(first[3], "Xeon, 2 GHz, 2026-01-31");
  EXPECT_EQ(read_csv_line(csv, at)[1], "");
  EXPECT_EQ(at, csv.size());
}

TEST(TableTest, NamesAreNoFormulasAndNoCommandsToATerminal) {
  Table table = sample_table();
  table.add({std::string("=1+1"), -1.5}, kMeasured);
  table.add({std::string("-2"), {}}, kMeasured);
  table.add({std::string("x\x1b[2J"), {}}, kMeasured);
  const std::string csv = table_csv(table);
  EXPECT_NE(csv.find("\n'=1+1,-1.5,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\n-2,"), std::string::npos) << csv;
  EXPECT_NE(table_markdown(table).find("x\\\\x1b\\[2J"), std::string::npos)
      << table_markdown(table);
}

TEST(TableTest, SaysTheProvenanceOnceWhenItIsOne) {
  Table table = sample_table();
  table.add({std::string("a"), 1.0}, kMeasured);
  table.add({std::string("b"), 2.0}, kMeasured);
  const std::string html = table_html(table);
  EXPECT_NE(html.find("measured (Xeon, 2 GHz, 2026-01-31)"), std::string::npos);
  EXPECT_EQ(html.find("<th scope=\"col\">provenance"), std::string::npos);
}

TEST(TableTest, MarkdownIsOneLineARowWithNothingThatEndsACell) {
  Table table = sample_table();
  table.add({std::string("a | b\n<i> *c* [d](e)"), 1500.0}, kModelled);
  table.add({std::string("plain"), {}}, kModelled);
  EXPECT_EQ(table_markdown(table),
            "A \\<caption\\>; modelled (physical mode; constants: gpu.json).\n\n"
            "| name | latency |\n|---|---:|\n"
            "| a \\| b \\<i\\> \\*c\\* \\[d\\](e) | 1.50 us |\n"
            "| plain |  |\n");
  table.add({std::string("b"), 2.0}, kMeasured);
  EXPECT_NE(
      table_markdown(table).find("| plain |  | modelled (physical mode; constants: gpu.json) |"),
      std::string::npos);
}

TEST(TableTest, GivesMixedProvenanceAColumn) {
  Table table = sample_table();
  table.add({std::string("a"), 1.0}, kMeasured);
  table.add({std::string("b"), 2.0}, kModelled);
  const std::string html = table_html(table);
  EXPECT_NE(html.find("<th scope=\"col\">provenance"), std::string::npos);
  EXPECT_NE(html.find("modelled (physical mode; constants: gpu.json)"), std::string::npos);
}

TEST(ProvenanceTest, JoinsDatesAndFilesButNeverKindsOrDevices) {
  Provenance later = kMeasured;
  later.date = "2026-02-01";
  EXPECT_EQ(common_provenance({later, kMeasured}),
            "measured (Xeon, 2 GHz, 2026-01-31 to 2026-02-01)");
  Provenance other_system = kModelled;
  other_system.source = "pim.json";
  EXPECT_EQ(common_provenance({kModelled, other_system}),
            "modelled (physical mode; constants: gpu.json, pim.json)");
  Provenance other_device = kMeasured;
  other_device.device = "H100";
  EXPECT_EQ(common_provenance({kMeasured, other_device}), "");
  EXPECT_EQ(common_provenance({kMeasured, kModelled}), "");
}

TEST(TableTest, EscapesWhatComesFromInputs) {
  Table table = sample_table();
  table.add({std::string("<script>alert(1)</script>"), 1.0}, kMeasured);
  const std::string html = table_html(table);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_EQ(testing::markup_fault(html), "");
}

}  // namespace
}  // namespace lowbank::report
