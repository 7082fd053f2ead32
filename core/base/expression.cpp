#include "core/base/expression.h"

#include <charconv>
#include <cmath>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int kDeepest = 64;  // brackets and signs inside each other: a file must not overflow the stack

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const NameLookup& lookup) : text_(text), lookup_(lookup) {}

  ExpressionValue whole() {
    ExpressionValue value = any_of();
    skip_space();
    if (at_ < text_.size()) wrong("wanted an operator or the end");
    return value;
  }

 private:
  [[noreturn]] void wrong(const std::string& reason) const {
    fail<ConfigError>("expression", reason, " at character ", at_ + 1, " of \"", text_, '"');
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool take(std::string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    const std::size_t end = at_ + word.size();
    if (is_name_start(word[0]) && end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) return false;  // "order" is no "or"
    at_ = end;
    return true;
  }

  ExpressionValue any_of() {
    ExpressionValue left = all_of();
    while (take("or")) {
      const bool right = truth(all_of());
      left = int64_t{truth(left) || right};
    }
    return left;
  }
  ExpressionValue all_of() {
    ExpressionValue left = comparison();
    while (take("and")) {
      const bool right = truth(comparison());
      left = int64_t{truth(left) && right};
    }
    return left;
  }
  ExpressionValue comparison() {
    if (take("not")) return int64_t{!truth(nested([this] { return comparison(); }))};
    ExpressionValue left = sum();
    for (const char* op : {"==", "!=", "<=", ">=", "<", ">"})
      if (take(op)) return int64_t{compare(left, sum(), op)};
    return left;
  }
  ExpressionValue sum() {
    ExpressionValue left = product();
    for (;;) {
      if (take("+")) left = arithmetic(left, product(), '+');
      else if (take("-")) left = arithmetic(left, product(), '-');
      else return left;
    }
  }
  ExpressionValue product() {
    ExpressionValue left = factor();
    for (;;) {
      if (take("*")) left = arithmetic(left, factor(), '*');
      else if (take("//")) left = arithmetic(left, factor(), 'f');
      else if (take("/")) left = arithmetic(left, factor(), '/');
      else if (take("%")) left = arithmetic(left, factor(), '%');
      else return left;
    }
  }
  ExpressionValue factor() {
    if (take("-")) return arithmetic(int64_t{0}, nested([this] { return factor(); }), '-');
    if (take("(")) {
      ExpressionValue inside = nested([this] { return any_of(); });
      if (!take(")")) wrong("wanted ')'");
      return inside;
    }
    skip_space();
    if (at_ == text_.size()) wrong("wanted a number, a name or a bracket, got the end");
    const std::size_t start = at_;
    if (text_[at_] == '\'') {
      const std::size_t end = text_.find('\'', at_ + 1);
      if (end == std::string_view::npos) wrong("wanted a closing '");
      at_ = end + 1;
      return std::string(text_.substr(start + 1, end - start - 1));
    }
    if (is_name_start(text_[at_])) {
      while (at_ < text_.size() && (is_name_start(text_[at_]) || is_digit(text_[at_]))) ++at_;
      return lookup_(std::string(text_.substr(start, at_ - start)));
    }
    while (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    const ExpressionValue number = value_of_text(std::string(text_.substr(start, at_ - start)));
    if (at_ == start || std::holds_alternative<std::string>(number)) {
      at_ = start;
      wrong("wanted a number, a name or a bracket");
    }
    return number;
  }

  template <class Call>
  ExpressionValue nested(const Call& call) {
    if (++depth_ > kDeepest) wrong("wanted at most " + std::to_string(kDeepest) + " levels");
    ExpressionValue value = call();
    --depth_;
    return value;
  }

  bool truth(const ExpressionValue& value) const {
    if (const auto* text = std::get_if<std::string>(&value)) wrong("wanted a number, got '" + *text + "'");
    return std::holds_alternative<int64_t>(value) ? std::get<int64_t>(value) != 0 : std::get<double>(value) != 0;
  }
  double real(const ExpressionValue& value) const {
    if (const auto* text = std::get_if<std::string>(&value)) wrong("wanted a number, got '" + *text + "'");
    return std::holds_alternative<int64_t>(value) ? static_cast<double>(std::get<int64_t>(value)) : std::get<double>(value);
  }
  bool compare(const ExpressionValue& a, const ExpressionValue& b, std::string_view op) const {
    const bool texts = std::holds_alternative<std::string>(a) || std::holds_alternative<std::string>(b);
    if (texts && op != "==" && op != "!=") wrong("wanted numbers around " + std::string(op));
    if (texts) return (text_of_value(a) == text_of_value(b)) == (op == "==");
    const double x = real(a), y = real(b);
    if (op == "==") return x == y;
    if (op == "!=") return x != y;
    if (op == "<=") return x <= y;
    if (op == ">=") return x >= y;
    return op == "<" ? x < y : x > y;
  }

  ExpressionValue arithmetic(const ExpressionValue& a, const ExpressionValue& b, char op) const {
    if (!std::holds_alternative<int64_t>(a) || !std::holds_alternative<int64_t>(b)) return real_arithmetic(real(a), real(b), op);
    const int64_t x = std::get<int64_t>(a), y = std::get<int64_t>(b);
    int64_t result = 0;
    const bool divides = op == '/' || op == 'f' || op == '%';
    if (divides && y == 0) wrong("division by zero");
    bool overflow = divides && y == -1 && x == INT64_MIN;
    if (op == '+') overflow = __builtin_add_overflow(x, y, &result);
    else if (op == '-') overflow = __builtin_sub_overflow(x, y, &result);
    else if (op == '*') overflow = __builtin_mul_overflow(x, y, &result);
    if (overflow) wrong("the result does not fit 64 bits");
    if (!divides) return result;
    const int64_t rest = x % y, down = x / y - int64_t{rest != 0 && (rest < 0) != (y < 0)};
    if (op == 'f') return down;
    if (op == '%') return x - down * y;
    if (rest != 0) wrong(std::to_string(x) + " / " + std::to_string(y) + " leaves a rest; // rounds down,");
    return down;
  }
  ExpressionValue real_arithmetic(double x, double y, char op) const {
    if (op == 'f' || op == '%') wrong("wanted whole numbers around // and %");
    const double result = op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y;
    if (!std::isfinite(result)) wrong("the result is not finite");
    return result;
  }

  std::string_view text_;
  const NameLookup& lookup_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

ExpressionValue evaluate(std::string_view expression, const NameLookup& lookup) { return Parser(expression, lookup).whole(); }

std::string text_of_value(const ExpressionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, std::get<double>(value)).ptr;  // the shortest that reads back equal
  return {text, end};
}

ExpressionValue value_of_text(const std::string& text) {
  const char *first = text.data(), *last = first + text.size();
  int64_t whole = 0;
  if (const auto read = std::from_chars(first, last, whole); read.ec == std::errc() && read.ptr == last && !text.empty()) return whole;
  double number = 0;
  if (const auto read = std::from_chars(first, last, number); read.ec == std::errc() && read.ptr == last && !text.empty() && std::isfinite(number)) return number;
  return text;
}

}  // namespace mla
