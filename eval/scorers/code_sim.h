// Edit similarity of code completions, as LongBench has it with fuzzywuzzy 0.18.0 over Python's difflib (python-Levenshtein absent:
// with it the same texts get other scores).
#pragma once
#include <string_view>

namespace mla {

// difflib.SequenceMatcher(None, a, b).ratio(), the autojunk heuristic for b of 200 characters and more included.
double sequence_ratio(std::u32string_view a, std::u32string_view b);
// fuzz.ratio(a, b): 0 to 100, rounded half to even.
int fuzz_ratio(std::u32string_view a, std::u32string_view b);
// fuzz_ratio / 100 of the first line of `prediction` that has no backtick, '#' or "//"; leading line breaks do not count.
double code_sim(std::string_view prediction, std::string_view gold);

}  // namespace mla
