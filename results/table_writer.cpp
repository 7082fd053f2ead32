#include "results/table_writer.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/names.h"
#include "results/table_cells.h"
#include "results/table_markup.h"

namespace mla {
namespace {

std::string exact(double value) { return Json(value).dump(); }  // shortest text that reads back to the same double

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80; }

// An underscore inside a word and a lone ampersand mean nothing to Markdown, and stay as they are.
bool is_markdown(const std::string& line, std::size_t i) {
  const char c = line[i], before = i > 0 ? line[i - 1] : ' ', after = i + 1 < line.size() ? line[i + 1] : ' ';
  if (c == '_') return !is_word(before) || !is_word(after);
  if (c == '&') return is_word(after) || after == '#';
  return std::string_view("|\\`<*[]").find(c) != std::string_view::npos;
}

std::string markdown_cell(const std::string& text) {
  const std::string line = one_line(text);
  std::string escaped;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (is_markdown(line, i)) escaped += '\\';
    escaped += line[i];
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

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string padding(width - width_of(text), ' ');
  return right ? padding + text : text + padding;
}

std::string write_aligned(const Table& table, bool markdown) {
  const TextTable texts = text_table(table, markdown ? markdown_cell : one_line);
  std::vector<std::size_t> widths;
  for (const TextColumn& column : texts.columns) widths.push_back(std::max<std::size_t>(3, width_of(column.name)));
  for (const auto& row : texts.rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  const auto line = [&](const auto& cell_at) {
    std::string text = markdown ? "| " : "";
    for (std::size_t c = 0; c < widths.size(); ++c) {
      text += padded(cell_at(c), widths[c], texts.columns[c].right);
      text += markdown ? (c + 1 < widths.size() ? " | " : " |") : (c + 1 < widths.size() ? "  " : "");
    }
    if (!markdown) text.erase(text.find_last_not_of(' ') + 1);
    return text + '\n';
  };
  std::string out = line([&](std::size_t c) { return texts.columns[c].name; });
  if (markdown) {
    out += '|';
    for (std::size_t c = 0; c < widths.size(); ++c)
      out += (texts.columns[c].right ? std::string(widths[c] + 1, '-') + ":" : ":" + std::string(widths[c] + 1, '-')) + '|';
    out += '\n';
  }
  for (const auto& row : texts.rows) out += line([&](std::size_t c) { return row[c]; });
  return out;
}

std::string write_sections(const Table& table, bool markdown) {
  const std::vector<Section> sections = sections_of(table);
  if (sections.size() < 2) return write_aligned(table, markdown);
  std::string out;
  for (const Section& section : sections) {
    out += (out.empty() ? "" : "\n") + (markdown ? "**" + markdown_cell(section.title) + "**\n" : section.title) + '\n';
    out += write_aligned(section.table, markdown);
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
  if (name == "latex") return TableFormat::latex;
  if (name == "html") return TableFormat::html;
  fail<ConfigError>("table", "unknown format '", name, "'", known_names_hint(name, {"csv", "html", "json", "latex", "markdown", "md", "text"}));
}

std::string write_table(const Table& table, TableFormat format) {
  switch (format) {
    case TableFormat::csv: return write_csv(table);
    case TableFormat::json: return write_json(table);
    case TableFormat::latex: return write_latex(table);
    case TableFormat::html: return write_html(table);
    default: return write_sections(table, format == TableFormat::markdown);
  }
}

}  // namespace mla
