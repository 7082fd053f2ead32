#include "eval/scorers/code_sim.h"

#include <cmath>
#include <string>
#include <unordered_map>
#include <vector>

#include "eval/scorers/text.h"

namespace mla {
namespace {

struct Range {
  std::size_t a_begin, a_end, b_begin, b_end;
};

struct Block {
  std::size_t a, b, size;
};

class Matcher {
 public:
  Matcher(std::u32string_view a, std::u32string_view b) : a_(a), b_(b), ending_(b.size() + 1), next_(b.size() + 1) {
    for (std::size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    if (b.size() < 200) return;
    const std::size_t popular = b.size() / 100 + 1;  // autojunk: no block starts from a character this frequent
    std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > popular; });
  }

  // Characters in matching blocks: the longest, then the same left and right of it.
  std::size_t matched() {
    std::size_t total = 0;
    std::vector<Range> open{{0, a_.size(), 0, b_.size()}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Block block = longest(range);
      if (block.size == 0) continue;
      total += block.size;
      if (range.a_begin < block.a && range.b_begin < block.b) open.push_back({range.a_begin, block.a, range.b_begin, block.b});
      const std::size_t a_rest = block.a + block.size, b_rest = block.b + block.size;
      if (a_rest < range.a_end && b_rest < range.b_end) open.push_back({a_rest, range.a_end, b_rest, range.b_end});
    }
    return total;
  }

 private:
  const std::vector<std::size_t>& places(char32_t c) const {
    static const std::vector<std::size_t> none;
    const auto found = places_.find(c);
    return found == places_.end() ? none : found->second;
  }

  // The longest block; of equals the first in a, then the first in b. ending_[j + 1] is the length of the match that ends with
  // the last character of a and b[j].
  Block longest(const Range& range) {
    Block best{range.a_begin, range.b_begin, 0};
    for (std::size_t i = range.a_begin; i < range.a_end; ++i) {
      for (const std::size_t j : places(a_[i])) {
        if (j < range.b_begin) continue;
        if (j >= range.b_end) break;
        const std::size_t size = next_[j + 1] = ending_[j] + 1;
        if (size > best.size) best = {i + 1 - size, j + 1 - size, size};
      }
      if (i > range.a_begin) clear(ending_, a_[i - 1]);
      ending_.swap(next_);
    }
    if (range.a_end > range.a_begin) clear(ending_, a_[range.a_end - 1]);
    while (best.a > range.a_begin && best.b > range.b_begin && a_[best.a - 1] == b_[best.b - 1]) --best.a, --best.b, ++best.size;
    while (best.a + best.size < range.a_end && best.b + best.size < range.b_end && a_[best.a + best.size] == b_[best.b + best.size])
      ++best.size;
    return best;
  }

  void clear(std::vector<std::size_t>& lengths, char32_t c) const {
    for (const std::size_t j : places(c)) lengths[j + 1] = 0;
  }

  std::u32string_view a_, b_;
  std::unordered_map<char32_t, std::vector<std::size_t>> places_;
  std::vector<std::size_t> ending_, next_;
};

bool has_comment_mark(std::u32string_view line) {
  return line.find(U'`') != line.npos || line.find(U'#') != line.npos || line.find(U"//") != line.npos;
}

}  // namespace

double sequence_ratio(std::u32string_view a, std::u32string_view b) {
  const std::size_t length = a.size() + b.size();
  return length == 0 ? 1.0 : 2.0 * static_cast<double>(Matcher(a, b).matched()) / static_cast<double>(length);
}

int fuzz_ratio(std::u32string_view a, std::u32string_view b) {
  if (a == b) return 100;  // before the test for emptiness: two empty texts are alike
  if (a.empty() || b.empty()) return 0;
  return static_cast<int>(std::nearbyint(100 * sequence_ratio(a, b)));
}

double code_sim(std::string_view prediction, std::string_view gold) {
  const std::u32string text = py::decode(prediction);
  std::u32string_view rest = text, line;
  while (!rest.empty() && rest.front() == U'\n') rest.remove_prefix(1);
  for (const std::u32string_view candidate : py::split(rest, U'\n'))
    if (!has_comment_mark(candidate)) {
      line = candidate;
      break;
    }
  return fuzz_ratio(line, py::decode(gold)) / 100.0;
}

}  // namespace mla
