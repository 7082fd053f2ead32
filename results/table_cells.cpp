#include "results/table_cells.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

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

bool is_empty(const Cell& cell) {
  const auto* text = std::get_if<std::string>(&cell);
  return std::holds_alternative<std::monostate>(cell) || (text != nullptr && text->empty());
}

bool separates(const Table& table, std::size_t column) {
  return std::find(table.separate.begin(), table.separate.end(), column) != table.separate.end();
}

// The table's columns but those that separate; hidden cells move with what refers to them.
Table without_separators(const Table& table) {
  Table bare{table.name, {}, {}};
  const int removed = static_cast<int>(table.separate.size());
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (separates(table, c)) continue;
    bare.columns.push_back(table.columns[c]);
    if (bare.columns.back().error_cell >= 0) bare.columns.back().error_cell -= removed;
  }
  return bare;
}

}  // namespace

std::string rounded_cell(const Column& column, const std::vector<Cell>& row, std::size_t index) {
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

std::string one_line(const std::string& text) {
  std::string line = text;
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return line;
}

TextTable text_table(const Table& table, std::string (*escape)(const std::string&)) {
  TextTable texts;
  texts.rows.resize(table.rows.size());
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const auto holds = [&](const auto& row) { return !is_empty(row[c]); };
    if (!table.rows.empty() && std::none_of(table.rows.begin(), table.rows.end(), holds)) continue;
    const bool right = std::none_of(table.rows.begin(), table.rows.end(), [&](const auto& row) { return std::holds_alternative<std::string>(row[c]); });
    texts.columns.push_back({escape(table.columns[c].name), right});
    for (std::size_t r = 0; r < table.rows.size(); ++r) texts.rows[r].push_back(escape(rounded_cell(table.columns[c], table.rows[r], c)));
  }
  return texts;
}

std::vector<Section> sections_of(const Table& table) {
  if (table.separate.empty()) return {{"", table}};
  const Table bare = without_separators(table);
  std::vector<Section> sections;
  std::map<std::string, std::size_t> places;
  for (const std::vector<Cell>& row : table.rows) {
    std::string title;
    std::vector<Cell> kept;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (!separates(table, c)) kept.push_back(row[c]);
      else if (!is_empty(row[c])) title += (title.empty() ? "" : ", ") + one_line(rounded_cell(table.columns[c], row, c));
    }
    const auto [place, is_new] = places.emplace(title, sections.size());
    if (is_new) sections.push_back({title, bare});
    sections[place->second].table.rows.push_back(std::move(kept));
  }
  if (sections.empty()) sections.push_back({"", bare});
  return sections;
}

}  // namespace mla
