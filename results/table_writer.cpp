#include "results/table_writer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/names.h"

namespace mla {
namespace {

std::string format_number(const char* format, int digits, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, digits, value);
  return text;
}

// Fixed digits, unless the number is so large that they would say nothing.
std::string short_number(int digits, double value) {
  const bool fixed = digits >= 0 && std::abs(value) < 1e9;
  return fixed ? format_number("%.*f", digits, value) : format_number("%.*g", 6, value);
}

std::string exact(double value) { return Json(value).dump(); }  // shortest text that reads back to the same double

// As people read it: rounded, "value ± error".
std::string rounded(const Column& column, const std::vector<Cell>& row, std::size_t index) {
  const Cell& cell = row[index];
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr) return "";
  std::string text = short_number(column.digits, *number);
  if (column.error_cell < 0) return text;
  if (const auto* error = std::get_if<double>(&row.at(static_cast<std::size_t>(column.error_cell))))
    text += " ± " + short_number(column.digits, *error);
  return text;
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return text;
}

std::string markdown_cell(const std::string& text) {
  std::string escaped;
  for (const char c : one_line(text)) {
    if (c == '|' || c == '\\' || c == '`' || c == '<') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

// Columns on a terminal, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

using Lines = std::vector<std::vector<std::string>>;

// Header and rows as text; a column that is empty in every row is left out.
Lines text_cells(const Table& table, std::string (*escape)(const std::string&)) {
  const auto plain = [&](const std::string& text) { return escape != nullptr ? escape(text) : one_line(text); };
  Lines lines(table.rows.size() + 1);
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const bool used = table.rows.empty() || std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
                        return !rounded(table.columns[c], row, c).empty();
                      });
    if (!used) continue;
    lines[0].push_back(plain(table.columns[c].name));
    for (std::size_t r = 0; r < table.rows.size(); ++r) lines[r + 1].push_back(plain(rounded(table.columns[c], table.rows[r], c)));
  }
  return lines;
}

bool is_number_column(const Table& table, const std::string& name) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == name)
      return std::none_of(table.rows.begin(), table.rows.end(), [&](const auto& row) { return std::holds_alternative<std::string>(row[c]); });
  return false;
}

std::string write_aligned(const Table& table, bool markdown) {
  const Lines lines = text_cells(table, markdown ? markdown_cell : nullptr);
  std::vector<std::size_t> widths(lines[0].size(), 3);
  for (const auto& line : lines)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], width_of(line[c]));
  std::vector<bool> right;
  for (const std::string& name : lines[0]) right.push_back(is_number_column(table, name));
  std::string out;
  for (std::size_t r = 0; r < lines.size(); ++r) {
    std::string text = markdown ? "| " : "";
    for (std::size_t c = 0; c < lines[r].size(); ++c) {
      const std::string padding(widths[c] - width_of(lines[r][c]), ' ');
      text += right[c] ? padding + lines[r][c] : lines[r][c] + padding;
      text += markdown ? (c + 1 < lines[r].size() ? " | " : " |") : (c + 1 < lines[r].size() ? "  " : "");
    }
    if (!markdown) text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
    if (r > 0 || !markdown) continue;
    out += '|';
    for (std::size_t c = 0; c < widths.size(); ++c) out += (right[c] ? std::string(widths[c] + 1, '-') + ":" : ":" + std::string(widths[c] + 1, '-')) + '|';
    out += '\n';
  }
  return out;
}

std::string exact_cell(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return csv_cell(*text);
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&cell)) return exact(*number);
  return "";
}

std::string write_csv(const Table& table) {
  std::string out;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    out += (c > 0 ? "," : "") + csv_cell(table.columns[c].name);
    if (table.columns[c].error_cell >= 0) out += "," + csv_cell(table.columns[c].name + " std. error");
  }
  out += '\n';
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      out += (c > 0 ? "," : "") + exact_cell(row[c]);
      if (table.columns[c].error_cell >= 0) out += "," + exact_cell(row.at(static_cast<std::size_t>(table.columns[c].error_cell)));
    }
    out += '\n';
  }
  return out;
}

nlohmann::ordered_json json_cell(const Cell& cell) {
  return std::visit(
      [](const auto& value) -> nlohmann::ordered_json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) return nullptr;
        else return value;
      },
      cell);
}

std::string write_json(const Table& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json object;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      object[table.columns[c].name] = json_cell(row[c]);
      if (table.columns[c].error_cell >= 0)
        object[table.columns[c].name + " std. error"] = json_cell(row.at(static_cast<std::size_t>(table.columns[c].error_cell)));
    }
    rows.push_back(std::move(object));
  }
  return rows.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

TableFormat parse_table_format(std::string_view name) {
  if (name == "markdown" || name == "md") return TableFormat::markdown;
  if (name == "csv") return TableFormat::csv;
  if (name == "json") return TableFormat::json;
  if (name == "text") return TableFormat::text;
  fail<ConfigError>("table", "unknown format '", name, "'", known_names_hint(name, {"csv", "json", "markdown", "md", "text"}));
}

std::string write_table(const Table& table, TableFormat format) {
  switch (format) {
    case TableFormat::csv: return write_csv(table);
    case TableFormat::json: return write_json(table);
    default: return write_aligned(table, format == TableFormat::markdown);
  }
}

}  // namespace mla
