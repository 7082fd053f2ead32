#include "plots/series_style.h"

#include <array>
#include <string_view>

namespace mla {
namespace {

struct MethodStyle {
  std::string_view method, color;
  int mark;
};

// Methods that share a colour have a full and an open mark.
constexpr std::array kMethods{
    MethodStyle{"original", "#555555", 2},      MethodStyle{"care", "#009e73", 9},          MethodStyle{"elitekv", "#e69f00", 13},
    MethodStyle{"gla", "#8c510a", 11},          MethodStyle{"gta", "#5b2a86", 15},          MethodStyle{"kq_svd", "#56b4e9", 11},
    MethodStyle{"mha2mla", "#d55e00", 5},       MethodStyle{"mla_retrofit", "#8c510a", 4},  MethodStyle{"palu", "#7f7f7f", 13},
    MethodStyle{"stream_match", "#000000", 7},  MethodStyle{"svd", "#cc79a7", 5},           MethodStyle{"svd_llm", "#cc79a7", 8},
    MethodStyle{"transmla", "#0072b2", 7},      MethodStyle{"transmla_converter", "#0072b2", 6}, MethodStyle{"x_ecomla", "#e69f00", 12},
};
constexpr std::array<std::string_view, 7> kOthers{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b2a86"};
constexpr std::array kMarks{7, 5, 9, 11, 13, 15, 6, 4, 8, 10, 12, 14};
constexpr int kDashes = 5;

// Of a method that this list does not know: always the same, whatever else is drawn.
MethodStyle unknown(const std::string& name) {
  unsigned sum = 0;
  for (const char c : name.substr(0, name.find(' '))) sum = sum * 31 + static_cast<unsigned char>(c);
  return {"", kOthers[sum % kOthers.size()], kMarks[sum % kMarks.size()]};
}

bool begins_with_word(const std::string& name, std::string_view word) {
  return name.compare(0, word.size(), word) == 0 && (name.size() == word.size() || name[word.size()] == ' ' || name[word.size()] == ',');
}

}  // namespace

SeriesStyle style_of(const std::string& name, int nth) {
  MethodStyle found = unknown(name);
  for (const MethodStyle& known : kMethods)
    if (begins_with_word(name, known.method)) found = known;
  std::size_t place = 0;
  while (place < kMarks.size() && kMarks[place] != found.mark) ++place;
  const int mark = nth == 0 ? found.mark : kMarks[(place + static_cast<std::size_t>(nth)) % kMarks.size()];
  return {std::string(found.color), mark, 1 + nth % kDashes};
}

}  // namespace mla
