// The scorers that a task file names: text in, a number from 0 to 1 out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mla {
class Jieba;

struct Reference {
  std::vector<std::string> answers;
  std::vector<std::string> all_classes;  // classification only
};

// What scoring needs besides the texts, and what it counts.
struct ScoreContext {
  const Jieba* jieba = nullptr;  // for scorers of Chinese text; the caller keeps it alive
  bool rouge_compat = false;     // score 0, as LongBench does, where the package rouge runs into Python's recursion limit
  int64_t rouge_cliffs = 0;      // (prediction, answer) pairs past that limit, whichever value they got
};

// The largest score over the answers, 0 or more. Throws ConfigError for an unknown name, a reference without an answer, a
// missing segmenter, and an answer that the scorer cannot read.
double score(std::string_view name, std::string_view prediction, const Reference& reference, ScoreContext& context);
double score(std::string_view name, std::string_view prediction, const Reference& reference);

std::vector<std::string> scorer_names();
bool scorer_needs_jieba(std::string_view name);

}  // namespace mla
