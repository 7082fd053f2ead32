// Whole-number expressions of sweep files: "head_dim / qk_rope_head_dim", "freqfold % collapse != 0 and method == 'transmla'".
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

namespace mla {

using ExpressionValue = std::variant<int64_t, double, std::string>;
// The value of a name. Throws ConfigError for a name that is not known.
using NameLookup = std::function<ExpressionValue(const std::string& name)>;

// or, and, not; == != < <= > >=; + -; * / // %; unary -; brackets; numbers, names, 'texts'. `/` of whole numbers must come out even, `//`
// rounds down; true is 1. Texts can only be compared for equality. Throws ConfigError naming expression, place and reason (syntax,
// division by zero or with a rest, overflow, a text where a number is wanted).
ExpressionValue evaluate(std::string_view expression, const NameLookup& lookup);

// "64", "0.5", "high".
std::string text_of_value(const ExpressionValue& value);
// The reverse: a whole number, a number, else text.
ExpressionValue value_of_text(const std::string& text);

}  // namespace mla
