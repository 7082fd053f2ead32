#include <utility>

#include "eval/jieba/jieba.h"

namespace mla {
namespace {

constexpr double kMinFloat = -3.14e100;  // jieba's logarithm of zero
enum State { kB, kE, kM, kS };           // in the order of their letters: Python's max of (probability, letter) prefers the later one

// Which states may come before B, E, M and S.
constexpr std::array<std::array<State, 2>, 4> kBefore{{{kE, kS}, {kB, kM}, {kB, kM}, {kE, kS}}};

double emission(const JiebaHmm& hmm, int state, char32_t c) {
  const auto& table = hmm.emission[static_cast<std::size_t>(state)];
  const auto found = table.find(c);
  return found == table.end() ? kMinFloat : found->second;
}

std::vector<State> viterbi(const JiebaHmm& hmm, std::u32string_view text) {
  std::array<double, 4> value{};
  for (std::size_t y = 0; y < 4; ++y) value[y] = hmm.start[y] + emission(hmm, static_cast<int>(y), text[0]);
  std::vector<std::array<State, 4>> from(text.size());
  for (std::size_t t = 1; t < text.size(); ++t) {
    std::array<double, 4> next{};
    for (std::size_t y = 0; y < 4; ++y) {
      const double emitted = emission(hmm, static_cast<int>(y), text[t]);
      const auto [first, second] = kBefore[y];  // ascending letters
      const double a = value[first] + hmm.transition[first][y] + emitted, b = value[second] + hmm.transition[second][y] + emitted;
      from[t][y] = b >= a ? second : first;
      next[y] = b >= a ? b : a;
    }
    value = next;
  }
  std::vector<State> path(text.size());
  path.back() = value[kS] >= value[kE] ? kS : kE;
  for (std::size_t t = text.size() - 1; t > 0; --t) path[t - 1] = from[t][path[t]];
  return path;
}

void cut_han(const JiebaHmm& hmm, std::u32string_view text, std::vector<std::u32string_view>& out) {
  const std::vector<State> path = viterbi(hmm, text);
  std::size_t begin = 0, next = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (path[i] == kB) {
      begin = i;
    } else if (path[i] == kE) {
      out.push_back(text.substr(begin, i + 1 - begin));
      next = i + 1;
    } else if (path[i] == kS) {
      out.push_back(text.substr(i, 1));
      next = i + 1;
    }
  }
  if (next < text.size()) out.push_back(text.substr(next));
}

// End of a match of [a-zA-Z0-9]+(?:\.\d+)?%? that starts at `i`, where an ASCII letter or digit stands. Only ASCII gets here.
std::size_t latin_end(std::u32string_view text, std::size_t i) {
  const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  while (i < text.size() && is_ascii_alnum(text[i])) ++i;
  if (i < text.size() && text[i] == '.' && digit(i + 1))
    for (++i; digit(i);) ++i;
  return i < text.size() && text[i] == '%' ? i + 1 : i;
}

}  // namespace

void hmm_cut(const JiebaHmm& hmm, std::u32string_view text, std::vector<std::u32string_view>& out) {
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    if (is_han(text[i])) {
      while (end < text.size() && is_han(text[end])) ++end;
      cut_han(hmm, text.substr(i, end - i), out);
    } else {
      if (is_ascii_alnum(text[i])) end = latin_end(text, i);
      else
        while (end < text.size() && !is_han(text[end]) && !is_ascii_alnum(text[end])) ++end;
      out.push_back(text.substr(i, end - i));
    }
    i = end;
  }
}

}  // namespace mla
