#include "pim/csv_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;

TEST(CsvTableTest, ColumnsGoByNameAndAreKeptBesideNewOnes) {
  const CsvTable table = CsvTable::parse("b,note,a\n2,x,1\n\n4,y,3\n", "t.csv", {"a", "b"});
  ASSERT_EQ(table.num_rows(), 2u);
  EXPECT_EQ(table.count(1, "a"), 3);
  EXPECT_EQ(table.positive(1, "b"), 4.0);
  EXPECT_EQ(table.where(1), "t.csv: line 4");
  EXPECT_EQ(table.with_columns({"c"}, {{"7"}, {"8"}}), "b,note,a,c\n2,x,1,7\n4,y,3,8\n");
  EXPECT_EQ(table.with_columns({"b"}, {{"7"}, {"8"}}), "note,a,b\nx,1,7\ny,3,8\n")
      << "a column of the same name is replaced";
}

TEST(CsvTableTest, QuotedCellsAreReadAndFormulasAreWrittenAsText) {
  const CsvTable table = CsvTable::parse(
      "a,\"the note\",=b\n1,\"x, \"\"y\"\"\",@SUM(A1)\n2,\"=1+1\",-1.5\n", "t.csv", {"a"});
  EXPECT_EQ(table.text(0, "the note"), "x, \"y\"");
  EXPECT_EQ(table.text(1, "the note"), "=1+1");
  EXPECT_EQ(table.with_columns({"c"}, {{"7"}, {"-8"}}),
            "a,the note,'=b,c\n1,\"x, \"\"y\"\"\",'@SUM(A1),7\n2,'=1+1,-1.5,-8\n");
  EXPECT_EQ(CsvTable::parse("a,b\n1,\"\"\n", "t.csv", {}).text(0, "b"), "");
}

TEST(CsvTableTest, QuotedCellsMayHoldLineEndsAsInRfc4180) {
  const CsvTable table = CsvTable::parse(
      "a,\"two\nlines\"\n1,\"x\ny, \"\"z\"\"\n\"\n\n2,5\" disk\n", "t.csv", {"a", "two\nlines"});
  ASSERT_EQ(table.num_rows(), 2u);
  EXPECT_EQ(table.text(0, "two\nlines"), "x\ny, \"z\"\n");
  EXPECT_EQ(table.text(1, "two\nlines"), "5\" disk")
      << "RFC 4180 leaves plain cells with marks open";
  EXPECT_EQ(table.where(0), "t.csv: line 3") << "the line on which the row begins";
  EXPECT_EQ(table.where(1), "t.csv: line 7");
  // What is written is read again as it was.
  const CsvTable again = CsvTable::parse(table.with_columns({}, {{}, {}}), "t.csv", {"a"});
  EXPECT_EQ(again.text(0, "two\nlines"), table.text(0, "two\nlines"));
}

template <class ErrorType>
std::string csv_error(const std::string& text) {
  try {
    CsvTable::parse(text, "t.csv", {"a"}).count(0, "a");
  } catch (const ErrorType& e) {
    return e.what();
  }
  return "";
}

TEST(CsvTableTest, WhatCannotBeMeantIsRefusedByLineAndColumn) {
  EXPECT_THAT(csv_error<IoError>("b\n1\n"), HasSubstr("column 'a' is missing"));
  EXPECT_THAT(csv_error<IoError>(""), HasSubstr("column 'a' is missing"));
  EXPECT_THAT(csv_error<IoError>("a\n1,2\n"), HasSubstr("line 2: 2 cells"));
  EXPECT_THAT(csv_error<IoError>("a\n"), HasSubstr("has a header and no row below it"));
  EXPECT_THAT(csv_error<IoError>("a\n\n\n"), HasSubstr("has a header and no row below it"));
  EXPECT_THAT(csv_error<IoError>("a,b,a\n1,2,3\n"),
              HasSubstr("line 1: the header has column 'a' twice"));
  EXPECT_THAT(csv_error<IoError>("a,b\n1,2\n3,\"open\n5,6\n"),
              HasSubstr("line 3: the quotation mark of a cell is never closed"));
  EXPECT_THAT(csv_error<IoError>("a,b\n1,\"x\" y\n"),
              HasSubstr("line 2: text follows the closing"));
  for (const char* const cell :
       {"0", "-3", "1.5", "x", " 1", "1e3", "2199023255552", "99999999999999999999"}) {
    EXPECT_THAT(csv_error<ConfigError>(std::string("a\n") + cell + "\n"),
                HasSubstr("t.csv: line 2: a: must be a whole number"))
        << cell;
  }
}

}  // namespace
}  // namespace lowbank::pim
