#include "core/calibration/text_rows.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/names.h"

namespace mla {
namespace {

constexpr uint32_t kSplitSeed = 42;  // of TransMLA's split of Alpaca

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = text.find('\n', begin), end = newline == std::string::npos ? text.size() : newline + 1;
    std::string line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r\n") != std::string::npos) lines.push_back(std::move(line));
    begin = end;
  }
  return lines;
}

std::string stripped(const std::string& line) {
  const std::size_t first = line.find_first_not_of(" \t\r\n"), last = line.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : line.substr(first, last - first + 1);
}

// The prompt that Alpaca's authors trained on, with the answer behind it: the corpus's own column "text".
std::string alpaca_text(const Json& row) {
  const std::string input = row.value("input", ""), instruction = row.at("instruction").get<std::string>();
  const std::string head = input.empty() ? "Below is an instruction that describes a task. Write a response that appropriately completes the request."
                                         : "Below is an instruction that describes a task, paired with an input that provides further context. "
                                           "Write a response that appropriately completes the request.";
  return head + "\n\n### Instruction:\n" + instruction + (input.empty() ? "" : "\n\n### Input:\n" + input) + "\n\n### Response:\n" +
         row.at("output").get<std::string>();
}

std::string text_of(const Json& row, const std::string& field, const std::string& where) {
  const auto text_at = [&](const std::string& name) { return row.is_object() && row.contains(name) && row[name].is_string(); };
  const std::string wanted = field.empty() ? "text" : field;
  if (text_at(wanted)) return row[wanted];
  if (field.empty() && text_at("instruction") && text_at("output") && (!row.contains("input") || text_at("input"))) return alpaca_text(row);
  std::vector<std::string> known;
  if (row.is_object())
    for (const auto& item : row.items()) known.push_back(item.key());
  fail<CheckpointError>("calibration", where, ": wanted a text under '", wanted, "', found ", known.empty() ? "no object with fields" : "the fields " + join(known),
                        "; choose one with --cal-field");
}

std::vector<std::string> json_rows(const std::string& content, const std::string& field, const std::string& path) {
  std::vector<std::string> rows;
  const auto add = [&](const Json& row, std::size_t number) { rows.push_back(text_of(row, field, path + ", row " + std::to_string(number))); };
  const Json whole = Json::parse(content, nullptr, false);
  const Json& list = whole.is_object() && whole.contains("data") ? whole["data"] : whole;
  if (list.is_array()) {
    for (std::size_t i = 0; i < list.size(); ++i) add(list[i], i + 1);
    return rows;
  }
  const std::vector<std::string> lines = lines_of(content);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Json row = Json::parse(lines[i], nullptr, false);
    if (row.is_discarded()) fail<CheckpointError>("calibration", path, ": row ", i + 1, " is not JSON; wanted an array of objects, or an object per line");
    add(row, i + 1);
  }
  return rows;
}

std::vector<std::string> chosen(const std::vector<std::string>& rows, const std::vector<int64_t>& order, std::size_t from, std::size_t to) {
  std::vector<std::string> part;
  for (std::size_t i = from; i < to; ++i) part.push_back(rows[static_cast<std::size_t>(order[i])]);
  return part;
}

// datasets.Dataset.train_test_split: the test part comes first in the permutation.
struct Halves {
  std::vector<std::string> training, test;
};
Halves train_test_split(const std::vector<std::string>& rows, double test_share) {
  const std::vector<int64_t> order = numpy_permutation(static_cast<int64_t>(rows.size()), kSplitSeed);
  const auto tested = static_cast<std::size_t>(std::ceil(test_share * static_cast<double>(rows.size())));
  return {chosen(rows, order, tested, rows.size()), chosen(rows, order, 0, tested)};
}

std::vector<std::string> wikitext_lines(const std::string& content) {
  std::vector<std::string> rows;
  for (std::size_t from = 0; from < content.size();) {
    const std::size_t end = std::min(content.find('\n', from), content.size() - 1) + 1;
    std::string row = content.substr(from, end - from);
    rows.push_back(stripped(row).empty() ? "" : std::move(row));
    from = end;
  }
  return rows;
}

}  // namespace

std::vector<std::string> text_rows(const std::filesystem::path& path, const std::string& content, const RowOptions& options) {
  const std::string extension = path.extension().string();
  const bool json = extension == ".json" || extension == ".jsonl" || !options.field.empty() || options.rule == "alpaca";
  std::vector<std::string> rows = json ? json_rows(content, options.field, path.string()) : lines_of(content);
  if (options.rule == "ptb")
    for (std::string& row : rows) row = stripped(row);
  if (options.rule == "alpaca") rows = train_test_split(rows, 0.2).training;
  std::erase_if(rows, [](const std::string& row) { return row.empty(); });
  return rows;
}

std::string joined_rows(const std::filesystem::path& path, const std::string& content, const std::string& rule) {
  std::vector<std::string> rows;
  if (rule == "wikitext") rows = wikitext_lines(content);
  else if (rule == "ptb") rows = text_rows(path, content, {.rule = "ptb"});
  else if (rule == "json") rows = json_rows(content, "", path.string());
  else if (rule == "alpaca-test") rows = train_test_split(train_test_split(json_rows(content, "", path.string()), 0.2).test, 0.5).training;
  else fail<ConfigError>("calibration", "wanted wikitext, ptb, json or alpaca-test as the rule of a corpus, got '", rule, "'");
  return join(rows, "\n\n");
}

}  // namespace mla
