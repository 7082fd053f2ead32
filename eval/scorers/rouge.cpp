#include "eval/scorers/rouge.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "eval/jieba/jieba.h"
#include "eval/scorers/text.h"

namespace mla {
namespace {

// Calls of the backtrack that fit into CPython's limit of 1000 frames below eval.py's scorer (measured: tests/oracle).
constexpr std::size_t kMostCalls = 991;

using Sentence = std::vector<int32_t>;  // one id per distinct word

class Words {
 public:
  // Pieces between full stops. Only a piece without characters is dropped; one of blanks keeps the empty word.
  std::vector<Sentence> sentences(std::u32string_view text) {
    std::vector<Sentence> found;
    for (const std::u32string_view piece : py::split(text, U'.')) {
      if (piece.empty()) continue;
      const std::u32string collapsed = py::collapse_spaces(piece);
      Sentence& sentence = found.emplace_back();
      for (const std::u32string_view word : py::split(collapsed, U' '))
        sentence.push_back(ids_.try_emplace(std::u32string(word), static_cast<int32_t>(ids_.size())).first->second);
    }
    return found;
  }

 private:
  std::unordered_map<std::u32string, int32_t> ids_;
};

std::size_t distinct(const std::vector<Sentence>& sentences) {
  std::set<int32_t> words;
  for (const Sentence& sentence : sentences) words.insert(sentence.begin(), sentence.end());
  return words.size();
}

// Adds the words of the longest common subsequence to `words`; returns how often the package's backtrack calls itself.
std::size_t add_lcs(const Sentence& x, const Sentence& y, std::set<int32_t>& words) {
  const std::size_t width = y.size() + 1;
  std::vector<int32_t> table((x.size() + 1) * width, 0);
  for (std::size_t i = 1; i <= x.size(); ++i)
    for (std::size_t j = 1; j < width; ++j)
      table[i * width + j] = x[i - 1] == y[j - 1] ? table[(i - 1) * width + j - 1] + 1
                                                  : std::max(table[(i - 1) * width + j], table[i * width + j - 1]);
  std::size_t i = x.size(), j = y.size(), calls = 1;
  for (; i > 0 && j > 0; ++calls) {
    if (x[i - 1] == y[j - 1]) {
      words.insert(x[i - 1]);
      --i, --j;
    } else if (table[(i - 1) * width + j] > table[i * width + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
  return calls;
}

RougeScore rouge_of(std::u32string_view prediction, std::u32string_view gold, RougeDepth depth) {
  Words words;
  const std::vector<Sentence> hypothesis = words.sentences(prediction), reference = words.sentences(gold);
  if (hypothesis.empty() || reference.empty()) return {};  // an exception in the original, scored 0
  std::set<int32_t> common;
  std::size_t most_calls = 0;
  for (const Sentence& wanted : reference)
    for (const Sentence& given : hypothesis) most_calls = std::max(most_calls, add_lcs(wanted, given, common));
  const double overlap = static_cast<double>(common.size());
  const double recall = overlap / static_cast<double>(distinct(reference)), precision = overlap / static_cast<double>(distinct(hypothesis));
  return {.f = 2.0 * ((precision * recall) / (precision + recall + 1e-8)),
          .past_cliff = most_calls > kMostCalls - (depth == RougeDepth::rouge_zh ? 1 : 0)};
}

std::u32string joined_tokens(std::string_view text, const Jieba& jieba) {
  const std::u32string points = py::decode(text);
  return py::join(jieba.cut(points), U" ");
}

}  // namespace

RougeScore rouge_l(std::string_view prediction, std::string_view gold, RougeDepth depth) {
  return rouge_of(py::decode(prediction), py::decode(gold), depth);
}

RougeScore rouge_l_zh(std::string_view prediction, std::string_view gold, const Jieba& jieba) {
  return rouge_of(joined_tokens(prediction, jieba), joined_tokens(gold, jieba), RougeDepth::rouge_zh);
}

}  // namespace mla
