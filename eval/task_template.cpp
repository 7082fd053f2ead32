#include "eval/task_template.h"

#include <algorithm>
#include <functional>

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {
namespace {

const std::vector<std::string> kFilters{"letters", "listed", "spaces", "strip"};

std::vector<std::string> split(std::string_view text, char mark) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == mark) parts.emplace_back();
    else parts.back() += c;
  return parts;
}

std::string strip(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\n\r\v\f");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n\r\v\f") - first + 1);
}

std::string letter(std::size_t index) { return std::string(1, static_cast<char>('A' + index)); }

Json apply(const std::string& filter, const Json& value, const std::string& where) {
  if (filter == "listed" || filter == "letters") {
    if (!value.is_array() || value.size() > 26)
      fail<CheckpointError>("task", "wanted a list of at most 26 for '", filter, "' in ", where, ", got ", value.type_name());
    Json letters = Json::array();
    std::string lines;
    for (std::size_t i = 0; i < value.size(); ++i) {
      letters.push_back(letter(i));
      lines += letter(i) + ". " + text_of(value[i], "element", where) + "\n";
    }
    return filter == "listed" ? Json(lines) : letters;
  }
  if (value.is_array()) {
    Json each = Json::array();
    for (const Json& element : value) each.push_back(apply(filter, element, where));
    return each;
  }
  std::string text = text_of(value, filter, where);
  if (filter == "strip") return strip(text);
  for (char& c : text)
    if (c == '_') c = ' ';
  return text;
}

// Of "column.part|filter".
Json evaluate(std::string_view inside, const Json& row, const std::string& where) {
  const std::vector<std::string> parts = split(inside, '|');
  Json value = column(row, parts[0], where);
  for (std::size_t i = 1; i < parts.size(); ++i) value = apply(parts[i], value, where);
  return value;
}

// Calls `literal` with each stretch of text and `inside` with each "{...}", in order; false where braces do not match.
bool walk(std::string_view text, const std::function<void(std::string_view)>& literal, const std::function<void(std::string_view)>& inside) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool twice = i + 1 < text.size() && text[i + 1] == text[i];
    if ((text[i] == '{' || text[i] == '}') && twice) {
      literal(text.substr(i++, 1));
    } else if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string_view::npos) return false;
      inside(text.substr(i + 1, end - i - 1));
      i = end;
    } else if (text[i] == '}') {
      return false;
    } else {
      literal(text.substr(i, 1));
    }
  }
  return true;
}

}  // namespace

void check_template(std::string_view text, const std::string& where) {
  const auto check = [&](std::string_view inside) {
    const std::vector<std::string> parts = split(inside, '|');
    if (parts[0].empty()) fail<ConfigError>("task", "wanted a column's name between braces in ", where, ", got '{", inside, "}'");
    for (std::size_t i = 1; i < parts.size(); ++i)
      if (std::find(kFilters.begin(), kFilters.end(), parts[i]) == kFilters.end())
        fail<ConfigError>("task", "unknown filter '", parts[i], "' in ", where, known_names_hint(parts[i], kFilters));
  };
  if (!walk(text, [](std::string_view) {}, check))
    fail<ConfigError>("task", "wanted each brace closed (or doubled) in ", where, ", got '", text, "'");
}

const Json& column(const Json& row, std::string_view path, const std::string& where) {
  const Json* value = &row;
  for (const std::string& part : split(path, '.')) {
    const auto found = value->is_object() ? value->find(part) : value->end();
    if (found == value->end()) {
      std::vector<std::string> there;
      if (row.is_object())
        for (const auto& [name, unused] : row.items()) there.push_back(name);
      fail<CheckpointError>("task", "wanted column '", path, "' in ", where, ", got columns ", join(there));
    }
    value = &*found;
  }
  return *value;
}

std::string text_of(const Json& value, std::string_view path, const std::string& where) {
  if (value.is_string()) return value;
  if (value.is_number_integer()) return value.dump();
  fail<CheckpointError>("task", "wanted a text or a whole number as '", path, "' in ", where, ", got ", value.type_name());
}

std::string render(std::string_view text, const Json& row, const std::string& where) {
  std::string out;
  walk(text, [&](std::string_view part) { out += part; },
       [&](std::string_view inside) { out += text_of(evaluate(inside, row, where), inside, where); });
  return out;
}

std::vector<std::string> render_list(const Json& templates, const Json& row, const std::string& where) {
  std::vector<std::string> out;
  if (templates.is_array()) {
    for (const Json& each : templates) out.push_back(render(each.get_ref<const std::string&>(), row, where));
    return out;
  }
  const std::string& text = templates.get_ref<const std::string&>();
  const std::string inside = text.substr(1, text.size() - 2);
  const Json list = evaluate(inside, row, where);
  if (!list.is_array()) fail<CheckpointError>("task", "wanted a list as '", inside, "' in ", where, ", got ", list.type_name());
  for (const Json& each : list) out.push_back(text_of(each, inside, where));
  return out;
}

}  // namespace mla
