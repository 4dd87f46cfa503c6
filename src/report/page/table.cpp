#include "report/page/table.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/text.h"
#include "report/page/markup.h"
#include "report/page/number_format.h"

namespace lowbank::report {
namespace {

// A heading may break anywhere but before its per-cent sign.
std::string heading_markup(const std::string& heading) {
  std::string out = escape_markup(heading);
  for (std::size_t at = 0; (at = out.find(" %", at)) != std::string::npos;) {
    out.replace(at, 1, "&#160;");
  }
  return out;
}

std::string cell_text(const TableCell& cell, CellFormat format) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr || !std::isfinite(*number)) return "";
  switch (format) {
    case CellFormat::kInteger:
      return format_count(*number);
    case CellFormat::kShare:
      return format_share(*number);
    case CellFormat::kSeconds:
      return format_latency(*number * 1e9);
    case CellFormat::kPercent:
      return format_percent(*number);
    case CellFormat::kLatency:
      return format_latency(*number);
    case CellFormat::kEnergy:
      return format_energy(*number);
    case CellFormat::kText:
    case CellFormat::kNumber:
      break;
  }
  return format_number(*number);
}

// The text in one line, with the characters escaped that would end a cell or begin markup.
std::string markdown_text(const std::string& text) {
  std::string line = text;
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  std::string out;
  for (const char c : printable(line)) {
    if (std::string_view("|<>*_`[]\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

void Table::add(std::vector<TableCell> cells, const Provenance& provenance) {
  cells.resize(columns.size());
  rows.push_back({.cells = std::move(cells), .provenance = provenance});
}

std::string table_csv(const Table& table) {
  std::string out;
  for (const TableColumn& column : table.columns) out += csv_field(column.key) + ",";
  out += "provenance,provenance_detail\n";
  for (const TableRow& row : table.rows) {
    for (const TableCell& cell : row.cells) {
      if (const auto* text = std::get_if<std::string>(&cell)) out += csv_field(*text);
      if (const auto* number = std::get_if<double>(&cell)) out += format_exact(*number);
      out += ',';
    }
    out += fmt::format("{},{}\n", row.provenance.name(), csv_field(row.provenance.detail()));
  }
  return out;
}

std::string table_markdown(const Table& table) {
  std::vector<Provenance> sources;
  for (const TableRow& row : table.rows) sources.push_back(row.provenance);
  const std::string source = common_provenance(sources);
  std::string out = markdown_text(table.caption);
  if (!source.empty()) out += "; " + markdown_text(source);
  out += ".\n\n|";
  for (const TableColumn& column : table.columns) {
    out += " " + markdown_text(column.heading) + " |";
  }
  out += source.empty() ? " provenance |\n|" : "\n|";
  for (const TableColumn& column : table.columns) {
    out += column.format == CellFormat::kText ? "---|" : "---:|";
  }
  out += source.empty() ? "---|\n" : "\n";
  for (const TableRow& row : table.rows) {
    out += "|";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      out += " " + markdown_text(cell_text(row.cells[i], table.columns[i].format)) + " |";
    }
    out += source.empty() ? " " + markdown_text(row.provenance.text()) + " |\n" : "\n";
  }
  return out;
}

std::string table_html(const Table& table) {
  std::vector<Provenance> sources;
  for (const TableRow& row : table.rows) sources.push_back(row.provenance);
  const std::string source = common_provenance(sources);
  const bool shared = !source.empty();
  std::string caption = escape_markup(table.caption);
  if (shared) caption += fmt::format(" <span class=\"prov\">{}</span>", escape_markup(source));
  // The caption is outside of the part that scrolls.
  const std::string id = escape_markup(table.id);
  std::string out = fmt::format(
      "<p class=\"caption\" id=\"{0}-c\">{1}</p>\n"
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{0}-c\">\n"
      "<table id=\"{0}\" aria-labelledby=\"{0}-c\">\n<thead><tr>",
      id, caption);
  for (const TableColumn& column : table.columns) {
    out += fmt::format("<th scope=\"col\"{}>{}</th>",
                       column.format == CellFormat::kText ? "" : " class=\"num\"",
                       heading_markup(column.heading));
  }
  if (!shared) out += "<th scope=\"col\">provenance</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : table.rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const std::string text = escape_markup(cell_text(row.cells[i], table.columns[i].format));
      if (i == 0) {
        out += fmt::format("<th scope=\"row\">{}</th>", text);
      } else {
        out +=
            fmt::format("<td{}>{}</td>",
                        table.columns[i].format == CellFormat::kText ? "" : " class=\"num\"", text);
      }
    }
    if (!shared)
      out += fmt::format("<td class=\"wide\">{}</td>", escape_markup(row.provenance.text()));
    out += "</tr>\n";
  }
  out +=
      fmt::format("</tbody>\n</table>\n</div>\n<p class=\"files\">Data: <code>{}.csv</code></p>\n",
                  escape_markup(table.id));
  if (!table.is_long) return out;
  return fmt::format("<details><summary>{} ({} rows)</summary>\n{}</details>\n",
                     escape_markup(table.caption), table.rows.size(), out);
}

}  // namespace lowbank::report
