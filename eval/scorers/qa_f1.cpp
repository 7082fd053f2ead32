#include "eval/scorers/qa_f1.h"

#include <algorithm>

#include "eval/jieba/jieba.h"
#include "eval/scorers/text.h"

namespace mla {
namespace {

// LongBench metrics.py, cn_punctuation; its quotation marks, dashes and two ASCII-like marks included.
constexpr std::u32string_view kChinesePunctuation =
    U"！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";

std::vector<std::u32string> words(std::string_view text) {
  const std::u32string normal = normalise_en(py::decode(text));
  std::vector<std::u32string> found;
  for (const std::u32string_view word : py::split(normal)) found.emplace_back(word);
  return found;
}

std::vector<std::u32string> words_zh(std::string_view text, const Jieba& jieba) {
  const std::u32string points = py::decode(text);
  std::vector<std::u32string> found;
  for (const std::u32string_view token : jieba.cut(points))
    if (std::u32string normal = normalise_zh(token); !normal.empty()) found.push_back(std::move(normal));
  return found;
}

}  // namespace

std::u32string remove_ascii_punctuation(std::u32string_view text) {
  std::u32string kept;
  std::copy_if(text.begin(), text.end(), std::back_inserter(kept), [](char32_t c) { return !py::is_ascii_punctuation(c); });
  return kept;
}

// A match of \b(a|an|the)\b is a whole run of word characters: it has a boundary at both ends and none inside.
std::u32string remove_articles(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && py::is_word(text[end])) ++end;
    const std::u32string_view word = text.substr(i, end - i);
    if (word == U"a" || word == U"an" || word == U"the") out += U' ';
    else out += word;
    if (end < text.size()) out += text[end];
    i = end + 1;
  }
  return out;
}

std::u32string normalise_en(std::u32string_view text) {
  return py::collapse_spaces(remove_articles(remove_ascii_punctuation(py::lower(text))));
}

std::u32string normalise_zh(std::u32string_view text) {
  std::u32string kept;
  for (const char32_t c : py::lower(text))
    if (!py::is_ascii_punctuation(c) && kChinesePunctuation.find(c) == kChinesePunctuation.npos && !py::is_space(c)) kept += c;
  return kept;
}

double token_f1(std::vector<std::u32string> prediction, std::vector<std::u32string> gold) {
  std::sort(prediction.begin(), prediction.end());
  std::sort(gold.begin(), gold.end());
  std::vector<std::u32string> common;
  std::set_intersection(prediction.begin(), prediction.end(), gold.begin(), gold.end(), std::back_inserter(common));
  if (common.empty()) return 0;
  const double same = static_cast<double>(common.size());
  const double precision = same / static_cast<double>(prediction.size()), recall = same / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

double qa_f1(std::string_view prediction, std::string_view gold) { return token_f1(words(prediction), words(gold)); }

double qa_f1_zh(std::string_view prediction, std::string_view gold, const Jieba& jieba) {
  return token_f1(words_zh(prediction, jieba), words_zh(gold, jieba));
}

}  // namespace mla
