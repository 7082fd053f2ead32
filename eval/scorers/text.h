// Text as Python's str sees it: code points, and the character classes of Python's re and str methods over ICU's Unicode.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mla::py {

// Ill-formed bytes become U+FFFD, as Python's errors="replace" does.
std::u32string decode(std::string_view utf8);
std::string encode(std::u32string_view text);

bool is_space(char32_t c);    // str.isspace, re's \s
bool is_decimal(char32_t c);  // re's \d: category Nd
bool is_word(char32_t c);     // re's \w: letters, all that has a numeric value, the underscore; no combining marks
bool is_ascii_punctuation(char32_t c);  // string.punctuation

std::u32string lower(std::u32string_view text);  // str.lower: full mappings, final sigma
std::u32string_view strip(std::u32string_view text);
std::vector<std::u32string_view> split(std::u32string_view text);                // at white space, as str.split()
std::vector<std::u32string_view> split(std::u32string_view text, char32_t sep);  // at every `sep`, empty pieces kept
std::u32string join(const std::vector<std::u32string_view>& pieces, std::u32string_view separator);
// " ".join(text.split())
std::u32string collapse_spaces(std::u32string_view text);
// re.findall(r"\d+", text)
std::vector<std::u32string_view> digit_runs(std::u32string_view text);
// repr(float)
std::string repr(double value);

}  // namespace mla::py
