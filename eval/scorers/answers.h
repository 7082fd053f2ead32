// LongBench's scorers of short answers: class names and numbers.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mla {

// 1/n where the gold class is among the n classes that the prediction names, after the original's removal of classes inside the
// gold's name, which skips the class behind each removed one; else 0.
double classification(std::string_view prediction, std::string_view gold, const std::vector<std::string>& classes);
// Share of the prediction's numbers that equal the gold text; 0 without a number.
double count(std::string_view prediction, std::string_view gold);
// The same with the number behind "Paragraph " or "段落" in `gold`. Throws ConfigError when there is none.
double retrieval_en(std::string_view prediction, std::string_view gold);
double retrieval_zh(std::string_view prediction, std::string_view gold);

// What trec, triviaqa, samsum and lsht score: leading line breaks dropped, then up to the next one.
std::string_view first_line(std::string_view prediction);

}  // namespace mla
