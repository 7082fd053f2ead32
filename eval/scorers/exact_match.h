// Exact matches and what is extracted before them: GSM8K's numbers in lm-evaluation-harness and lighteval, and lighteval's
// matches for trivia_qa (quasi) and bbh.
#pragma once
#include <string>
#include <string_view>

namespace mla {

inline constexpr const char* kInvalidAnswer = "[invalid]";

// lm-evaluation-harness, gsm8k: the number of the first `#### (\-?[0-9\.\,]+)`, else "[invalid]".
std::string gsm8k_strict(std::string_view text);
// The last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`, else "[invalid]".
std::string gsm8k_flexible(std::string_view text);
// Its exact_match: "," and "$", all up to the last "#### " and a final "." deleted, then lower case as numpy has it.
std::string normalise_lm_eval(std::string_view text);
double exact_match_lm_eval(std::string_view prediction, std::string_view gold);

// mmlu_pro: the letter of the first `answer is \(?([ABCDEFGHIJ])\)?`, without case.
double mmlu_pro_lm_eval(std::string_view prediction, std::string_view gold);

// lighteval 0.6.2. An empty prediction scores 0 whatever the gold; both sides are stripped of white space.
double exact_match_lighteval(std::string_view prediction, std::string_view gold);
// helm_normalizer on both: tokens between blanks and hyphens, numbers as Python prints them, no punctuation, no articles.
std::u32string normalise_helm(std::u32string_view text);
double quasi_exact_match_lighteval(std::string_view prediction, std::string_view gold);
// The `#### n` number without commas on both sides. Trap kept: two texts without one are equal, and score 1.
double gsm8k_lighteval(std::string_view prediction, std::string_view gold);

}  // namespace mla
