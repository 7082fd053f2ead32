#include "results/table_markup.h"

#include "results/table_cells.h"

namespace mla {
namespace {

// Inside a cell. A bracket or a star would be read as an argument of the line break before it.
std::string latex_character(char c) {
  switch (c) {
    case '&': case '%': case '$': case '#': case '_': case '{': case '}': return std::string("\\") + c;
    case '\\': return "\\textbackslash{}";
    case '~': return "\\textasciitilde{}";
    case '^': return "\\textasciicircum{}";
    case '<': return "\\textless{}";
    case '>': return "\\textgreater{}";
    case '|': return "\\textbar{}";
    case '"': return "\\textquotedbl{}";
    case '`': return "\\textasciigrave{}";
    case '[': return "{[}";
    case ']': return "{]}";
    case '*': return "{*}";
    default: return std::string(1, c);
  }
}

struct LatexName {
  std::string_view utf8, latex;
};
constexpr LatexName kLatexNames[] = {{"±", "$\\pm$"}, {"Δ", "$\\Delta$"}};  // what our own columns hold; other characters are LaTeX's own business

std::string latex_escaped(const std::string& text) {
  const std::string line = one_line(text);
  std::string escaped;
  for (std::size_t i = 0; i < line.size();) {
    const LatexName* name = nullptr;
    for (const LatexName& known : kLatexNames)
      if (line.compare(i, known.utf8.size(), known.utf8) == 0) name = &known;
    escaped += name != nullptr ? std::string(name->latex) : latex_character(line[i]);
    i += name != nullptr ? name->utf8.size() : 1;
  }
  return escaped;
}

std::string latex_rows(const TextTable& texts) {
  std::string rows;
  for (const std::vector<std::string>& row : texts.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) rows += (c > 0 ? " & " : "    ") + row[c];
    rows += " \\\\\n";
  }
  return rows;
}

std::string html_table(const Section& section, const std::string& name) {
  const TextTable texts = text_table(section.table, html_escaped);
  std::string html = "<table>\n<caption>" + html_escaped(section.title.empty() ? name : section.title) + "</caption>\n<thead><tr>";
  for (const TextColumn& column : texts.columns) html += std::string("<th scope=\"col\"") + (column.right ? " class=\"n\"" : "") + ">" + column.name + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : texts.rows) {
    html += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) html += (texts.columns[c].right ? "<td class=\"n\">" : "<td>") + row[c] + "</td>";
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n";
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string escaped;
  for (const char c : one_line(text)) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string write_latex(const Table& table) {
  std::string text = "% \\usepackage{booktabs,textcomp}\n";
  int number = 0;
  for (const Section& section : sections_of(table)) {
    const TextTable texts = text_table(section.table, latex_escaped);
    std::string columns, head;
    for (const TextColumn& column : texts.columns) {
      columns += column.right ? 'r' : 'l';
      head += (head.empty() ? "    " : " & ") + column.name;
    }
    text += "\\begin{table}\n  \\centering\n  \\caption{" + latex_escaped(section.title.empty() ? table.name : section.title) + "}\n";
    text += "  \\label{tab:" + latex_escaped(table.name) + "-" + std::to_string(++number) + "}\n  \\begin{tabular}{" + columns + "}\n    \\toprule\n";
    text += head + " \\\\\n    \\midrule\n" + latex_rows(texts) + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n";
  }
  return text;
}

std::string write_html(const Table& table) {
  std::string html = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
                     html_escaped(table.name) + "</title>\n<style>\n:root { color-scheme: light dark; }\nbody { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; }\n"
                     "table { border-collapse: collapse; margin-bottom: 2rem; }\ncaption { text-align: left; font-weight: 600; padding-bottom: .4rem; }\n"
                     "th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #8884; white-space: nowrap; }\n"
                     ".n { text-align: right; font-variant-numeric: tabular-nums; }\n</style>\n";
  for (const Section& section : sections_of(table)) html += html_table(section, table.name);
  return html + "</html>\n";
}

}  // namespace mla
