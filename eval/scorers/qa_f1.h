// Token F1 of question answering (SQuAD's, as LongBench has it), in English and Chinese.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mla {
class Jieba;

// LongBench's normalize_answer: lower case, ASCII punctuation deleted (so "a-b" is "ab"), articles to blanks, blanks collapsed.
std::u32string normalise_en(std::u32string_view text);
// LongBench's normalize_zh_answer: lower case, ASCII and Chinese punctuation deleted, white space deleted.
std::u32string normalise_zh(std::u32string_view text);
// Each whole word a, an, the becomes one blank.
std::u32string remove_articles(std::u32string_view text);
std::u32string remove_ascii_punctuation(std::u32string_view text);

// F1 of the multiset overlap; 0 without overlap, also of two empty lists.
double token_f1(std::vector<std::u32string> prediction, std::vector<std::u32string> gold);

double qa_f1(std::string_view prediction, std::string_view gold);
double qa_f1_zh(std::string_view prediction, std::string_view gold, const Jieba& jieba);

}  // namespace mla
