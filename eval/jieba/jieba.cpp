#include "eval/jieba/jieba.h"

#include <cmath>
#include <utility>

#include "eval/scorers/text.h"

namespace mla {
namespace {

// The characters of jieba's re_han_default: [\u4E00-\u9FD5a-zA-Z0-9+#&\._%\-].
bool in_block(char32_t c) {
  return is_han(c) || is_ascii_alnum(c) || c == '+' || c == '#' || c == '&' || c == '.' || c == '_' || c == '%' || c == '-';
}

uint64_t edge(int32_t node, char32_t c) { return static_cast<uint64_t>(static_cast<uint32_t>(node)) << 32 | c; }

}  // namespace

int32_t Jieba::child(int32_t node, char32_t c) const {
  const auto found = children_.find(edge(node, c));
  return found == children_.end() ? -1 : found->second;
}

void Jieba::add_word(std::u32string_view word, int64_t count) {
  int32_t node = 0;
  for (const char32_t c : word) {
    const auto [place, is_new] = children_.try_emplace(edge(node, c), static_cast<int32_t>(frequency_.size()));
    if (is_new) frequency_.push_back(0);
    node = place->second;
  }
  frequency_[static_cast<std::size_t>(node)] = count;  // a repeated word keeps its last count
}

int64_t Jieba::frequency(std::u32string_view word) const {
  int32_t node = 0;
  for (const char32_t c : word)
    if ((node = child(node, c)) < 0) return 0;
  return frequency_[static_cast<std::size_t>(node)];
}

// The most probable path through the words of the dictionary; single characters in a row are then left to the hidden Markov
// model, unless they form a word of the dictionary themselves.
void Jieba::cut_block(std::u32string_view block, std::vector<std::u32string_view>& out) const {
  const std::size_t size = block.size();
  std::vector<std::pair<double, std::size_t>> route(size + 1);  // value, last character of the word
  for (std::size_t i = size; i-- > 0;) {
    // Python compares pairs: of equal values the longer word wins. Words come by growing length, so >= does the same.
    bool any = false;
    const auto offer = [&](std::size_t last, int64_t count) {
      const double value = std::log(static_cast<double>(count)) - log_total_ + route[last + 1].first;
      if (!any || value >= route[i].first) route[i] = {value, last};
      any = true;
    };
    int32_t node = 0;
    for (std::size_t last = i; last < size && (node = child(node, block[last])) >= 0; ++last)
      if (const int64_t count = frequency_[static_cast<std::size_t>(node)]; count > 0) offer(last, count);
    if (!any) offer(i, 1);
  }

  std::size_t singles = 0;  // single characters just before `i` that wait
  const auto flush = [&](std::size_t end) {
    const std::u32string_view waiting = block.substr(end - singles, singles);
    if (singles > 1 && frequency(waiting) == 0) hmm_cut(hmm_, waiting, out);
    else
      for (std::size_t k = 0; k < singles; ++k) out.push_back(waiting.substr(k, 1));
    singles = 0;
  };
  for (std::size_t i = 0; i < size;) {
    const std::size_t end = route[i].second + 1;
    if (end - i == 1) {
      ++singles;
    } else {
      flush(i);
      out.push_back(block.substr(i, end - i));
    }
    i = end;
  }
  flush(size);
}

std::vector<std::u32string_view> Jieba::cut(std::u32string_view text) const {
  std::vector<std::u32string_view> out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && in_block(text[end])) ++end;
    if (end > i) {
      cut_block(text.substr(i, end - i), out);
    } else {
      end = text.substr(i, 2) == U"\r\n" ? i + 2 : i + 1;  // all else is a token of one character
      out.push_back(text.substr(i, end - i));
    }
    i = end;
  }
  return out;
}

}  // namespace mla
