// ROUGE-L as the PyPI package `rouge` 1.0.1 computes it, which LongBench uses; its numbers are not those of rouge_score.
#pragma once
#include <string_view>

namespace mla {
class Jieba;

struct RougeScore {
  double f = 0;
  // The package recurses once per step back through the table. Under LongBench's eval.py on CPython 3.11 a path of this many
  // calls ends in RecursionError, which the benchmark scores 0.
  bool past_cliff = false;
};

// How deep the caller of the package stands: rouge_zh stands one call deeper than rouge.
enum class RougeDepth { rouge, rouge_zh };

// The true value; past_cliff says where the original would have given 0.
RougeScore rouge_l(std::string_view prediction, std::string_view gold, RougeDepth depth = RougeDepth::rouge);
// Of the texts' jieba tokens joined by blanks.
RougeScore rouge_l_zh(std::string_view prediction, std::string_view gold, const Jieba& jieba);

}  // namespace mla
