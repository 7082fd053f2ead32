// WikiText as lm-evaluation-harness reads it: pages, detokenised text, words.
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "eval/windows.h"

namespace mla {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) out.append(text, at, found - at).append(to);
  text = out.append(text, at);
}

// Python's str.isspace as \s has it.
bool is_space(UChar32 c) { return u_isUWhiteSpace(c) || (c >= 0x1c && c <= 0x1f); }

// re.sub of "open \s* ([^close]*?) \s* close" by "open \1 close".
void tighten(std::string& text, char open, char close) {
  std::string out;
  std::size_t at = 0;
  while (true) {
    const std::size_t begin = text.find(open, at), end = begin == std::string::npos ? begin : text.find(close, begin + 1);
    if (end == std::string::npos) break;
    std::string_view inner(text.data() + begin + 1, end - begin - 1);
    const auto trim = [&](bool front) {
      while (!inner.empty()) {
        int32_t i = front ? 0 : static_cast<int32_t>(inner.size());
        UChar32 c;
        if (front) U8_NEXT(inner.data(), i, static_cast<int32_t>(inner.size()), c);
        else U8_PREV(inner.data(), 0, i, c);
        if (c < 0 || !is_space(c)) return;
        if (front) inner.remove_prefix(static_cast<std::size_t>(i));
        else inner.remove_suffix(inner.size() - static_cast<std::size_t>(i));
      }
    };
    trim(true), trim(false);
    out.append(text, at, begin + 1 - at).append(inner).push_back(close);
    at = end + 1;
  }
  text = out.append(text, at);
}

}  // namespace

std::string wikitext_detokenize(std::string text) {
  replace_all(text, "s '", "s'");
  for (const auto& [from, to] : {std::pair{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "}, {" ; ", "; "}, {" . ", ". "}, {" ! ", "! "}, {" ? ", "? "}, {" , ", ", "}})
    replace_all(text, from, to);
  tighten(text, '(', ')'), tighten(text, '[', ']'), tighten(text, '{', '}'), tighten(text, '"', '"'), tighten(text, '\'', '\'');
  for (const auto& [from, to] : {std::pair{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="}, {" \u00b0 ", "\u00b0"}, {" \n", "\n"}, {"\n ", "\n"}, {" N ", " 1 "}, {" 's", "'s"}})
    replace_all(text, from, to);
  return text;
}

std::vector<std::string> wikitext_pages(const std::string& text) {
  std::vector<std::string> pages(1);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string_view line(text.data() + at, end - at);
    const bool heading = line.starts_with(" = ") && !line.starts_with(" = =") && line.substr(0, line.find_last_not_of(" \n") + 1).ends_with(" =");
    if (heading && pages.back().find_first_not_of(" \n") != std::string::npos) pages.emplace_back();
    pages.back().append(line);
    at = end;
  }
  return pages;
}

int64_t count_words(const std::string& text) {
  int64_t words = 1;
  bool inside = false;
  for (int32_t i = 0; i < static_cast<int32_t>(text.size());) {
    UChar32 c;
    U8_NEXT(text.data(), i, static_cast<int32_t>(text.size()), c);
    const bool space = c >= 0 && is_space(c);
    if (space && !inside) ++words;
    inside = space;
  }
  return words;
}

}  // namespace mla
