#include "eval/scorers/exact_match.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdlib>

#include "eval/scorers/qa_f1.h"
#include "eval/scorers/text.h"

namespace mla {
namespace {

constexpr std::string_view kMark = "#### ";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// End of the run of characters of `set` from `i`.
std::size_t run_end(std::string_view text, std::size_t i, std::string_view set) {
  return std::min(text.find_first_not_of(set, i), text.size());
}

std::string without(std::string_view text, char unwanted) {
  std::string kept(text);
  std::erase(kept, unwanted);
  return kept;
}

// Python's float() on a text without punctuation: digits with an exponent, inf, infinity or nan; "" where it raises ValueError.
std::string number_repr(std::u32string_view text) {
  std::string ascii;
  for (const char32_t c : py::strip(text)) {
    if (py::is_decimal(c)) ascii += static_cast<char>('0' + u_charDigitValue(static_cast<UChar32>(c)));
    else if (c > 0 && c < 128) ascii += static_cast<char>(c);
    else return {};
  }
  if (ascii == "inf" || ascii == "infinity") return "inf";
  if (ascii == "nan") return "nan";
  const std::size_t digits = run_end(ascii, 0, "0123456789");
  if (digits == 0) return {};
  if (digits < ascii.size()) {
    if (ascii[digits] != 'e' || digits + 1 == ascii.size()) return {};
    if (run_end(ascii, digits + 1, "0123456789") != ascii.size()) return {};
  }
  return py::repr(std::strtod(ascii.c_str(), nullptr));
}

}  // namespace

std::string gsm8k_strict(std::string_view text) {
  for (std::size_t at = text.find(kMark); at != text.npos; at = text.find(kMark, at + 1)) {
    const std::size_t begin = at + kMark.size();
    const std::size_t digits = begin < text.size() && text[begin] == '-' ? begin + 1 : begin;
    const std::size_t end = run_end(text, digits, "0123456789.,");
    if (end > digits) return std::string(text.substr(begin, end - begin));
  }
  return kInvalidAnswer;
}

double mmlu_pro_lm_eval(std::string_view prediction, std::string_view gold) {
  constexpr std::string_view mark = "answer is ";
  char found = 0;
  for (std::size_t at = prediction.find(mark); at != prediction.npos && found == 0; at = prediction.find(mark, at + 1)) {
    std::size_t i = at + mark.size();
    if (i < prediction.size() && prediction[i] == '(') ++i;
    if (i >= prediction.size() || prediction[i] < 'A' || prediction[i] > 'J') continue;
    found = prediction[i];
  }
  return found != 0 && gold.size() == 1 && (gold[0] | 0x20) == (found | 0x20) ? 1 : 0;
}

std::string gsm8k_flexible(std::string_view text) {
  std::string last = kInvalidAnswer;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t body = text[i] == '-' ? i + 1 : i;
    std::size_t end = run_end(text, body, "$0123456789.,");
    if (end < body + 2 && !(end == body + 1 && is_digit(text[body]))) end = i;  // neither two of them nor one digit
    if (end > i) last = text.substr(i, end - i);
    i = std::max(end, i + 1);
  }
  return last;
}

std::string normalise_lm_eval(std::string_view text) {
  std::string kept = without(without(text, ','), '$');
  if (const std::size_t mark = kept.rfind(kMark); mark != kept.npos) kept.erase(0, mark + kMark.size());
  const std::size_t line = kept.size() - (!kept.empty() && kept.back() == '\n' ? 1 : 0);  // re's $ is also before a last line break
  if (!kept.empty() && kept.back() == '.') kept.pop_back();
  else if (line > 0 && kept[line - 1] == '.') kept.erase(line - 1, 1);
  // np.char.lower keeps the array's width: where lower case is longer (U+0130), it loses the end.
  const std::u32string points = py::decode(kept);
  return py::encode(py::lower(points).substr(0, points.size()));
}

double exact_match_lm_eval(std::string_view prediction, std::string_view gold) {
  return normalise_lm_eval(prediction) == normalise_lm_eval(gold) ? 1 : 0;
}

double exact_match_lighteval(std::string_view prediction, std::string_view gold) {
  if (prediction.empty()) return 0;
  const std::u32string given = py::decode(prediction), wanted = py::decode(gold);
  return py::strip(given) == py::strip(wanted) ? 1 : 0;
}

std::u32string normalise_helm(std::u32string_view text) {
  std::u32string blanks(text);
  std::replace(blanks.begin(), blanks.end(), U'-', U' ');
  std::vector<std::u32string> tokens;
  for (const std::u32string_view piece : py::split(blanks, U' ')) {
    const std::u32string bare = remove_ascii_punctuation(py::lower(piece));
    const std::string number = number_repr(bare);
    // As in the original, articles go after numbers are rewritten; the point of "1.0" stays.
    std::u32string token = py::collapse_spaces(remove_articles(number.empty() ? bare : py::decode(number)));
    if (!token.empty()) tokens.push_back(std::move(token));
  }
  const std::vector<std::u32string_view> views(tokens.begin(), tokens.end());
  return py::join(views, U" ");
}

double quasi_exact_match_lighteval(std::string_view prediction, std::string_view gold) {
  if (prediction.empty()) return 0;
  const std::u32string given = py::decode(prediction), wanted = py::decode(gold);
  return normalise_helm(py::strip(given)) == normalise_helm(py::strip(wanted)) ? 1 : 0;
}

double gsm8k_lighteval(std::string_view prediction, std::string_view gold) {
  if (prediction.empty()) return 0;
  // The texts are stripped first: a mark whose number is missing at the end loses its blank, which changes nothing.
  return without(gsm8k_strict(prediction), ',') == without(gsm8k_strict(gold), ',') ? 1 : 0;
}

}  // namespace mla
