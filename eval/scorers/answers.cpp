#include "eval/scorers/answers.h"

#include <algorithm>

#include "core/base/error.h"
#include "eval/scorers/text.h"

namespace mla {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

double share_of_numbers(std::string_view prediction, std::u32string_view gold) {
  const std::u32string text = py::decode(prediction);
  const std::vector<std::u32string_view> numbers = py::digit_runs(text);
  if (numbers.empty()) return 0;
  return static_cast<double>(std::count(numbers.begin(), numbers.end(), gold)) / static_cast<double>(numbers.size());
}

// The digits right behind the first `mark` that has any.
std::u32string number_behind(std::u32string_view mark, std::string_view gold) {
  const std::u32string text = py::decode(gold);
  for (std::size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + 1)) {
    std::size_t end = at + mark.size();
    while (end < text.size() && py::is_decimal(text[end])) ++end;
    if (end > at + mark.size()) return text.substr(at + mark.size(), end - at - mark.size());
  }
  fail<ConfigError>("scorers", "wanted an answer with '", py::encode(mark), "' and a number, got '", gold.substr(0, 80),
                    "'; check the answers of the task's data");
}

}  // namespace

double classification(std::string_view prediction, std::string_view gold, const std::vector<std::string>& classes) {
  std::vector<std::string> named;
  for (const std::string& name : classes)
    if (contains(prediction, name)) named.push_back(name);
  for (std::size_t i = 0; i < named.size(); ++i) {
    const std::string name = named[i];
    if (contains(gold, name) && name != gold) named.erase(std::find(named.begin(), named.end(), name));
  }
  const bool right = std::find(named.begin(), named.end(), gold) != named.end();
  return right ? 1.0 / static_cast<double>(named.size()) : 0.0;
}

double count(std::string_view prediction, std::string_view gold) { return share_of_numbers(prediction, py::decode(gold)); }

double retrieval_en(std::string_view prediction, std::string_view gold) {
  return share_of_numbers(prediction, number_behind(U"Paragraph ", gold));
}

double retrieval_zh(std::string_view prediction, std::string_view gold) {
  return share_of_numbers(prediction, number_behind(U"段落", gold));
}

std::string_view first_line(std::string_view prediction) {
  prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
  return prediction.substr(0, prediction.find('\n'));
}

}  // namespace mla
