// The synthetic texts and pairs that tests/oracle/scorers_goldens.py draws, drawn again from the golden file's fragments.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/base/json.h"
#include "core/base/names.h"
#include "core/base/python_random.h"
#include "core/base/sha256.h"
#include "tests/support/paths.h"

namespace mla::test {

using Strings = std::vector<std::string>;

inline const Json& scorer_goldens() {
  static const Json json = read_json_file(golden("scorers.json"));
  return json;
}

// How many fragments is drawn first, then each.
inline Strings draw_parts(PythonRandom& numbers, const Strings& fragments, uint64_t most) {
  Strings parts(numbers.below(most + 1));
  for (std::string& part : parts) part = fragments[numbers.below(fragments.size())];
  return parts;
}

inline std::string draw_text(PythonRandom& numbers, const Strings& fragments, uint64_t most) {
  return join(draw_parts(numbers, fragments, most), "");
}

inline Strings draw_change(PythonRandom& numbers, const Strings& parts, const Strings& fragments) {
  Strings out;
  for (const std::string& part : parts) {
    const uint64_t kind = numbers.below(8);  // 0: dropped, 1: replaced
    if (kind == 1) out.push_back(fragments[numbers.below(fragments.size())]);
    else if (kind > 1) out.push_back(part);
  }
  return out;
}

struct PairRule {
  uint64_t seed = 0;
  Strings fragments;
  uint64_t most = 0;
  Strings golds;  // empty: another text, or a changed copy of the prediction
};

struct Pair {
  std::string prediction, gold;
};

inline std::vector<Pair> draw_pairs(const PairRule& rule, std::size_t count) {
  PythonRandom numbers(rule.seed);
  std::vector<Pair> pairs(count);
  for (Pair& pair : pairs) {
    const Strings parts = draw_parts(numbers, rule.fragments, rule.most);
    pair.prediction = join(parts, "");
    if (!rule.golds.empty()) pair.gold = rule.golds[numbers.below(rule.golds.size())];
    else if (numbers.below(4) == 0) pair.gold = draw_text(numbers, rule.fragments, rule.most);
    else pair.gold = join(draw_change(numbers, parts, rule.fragments), "");
  }
  return pairs;
}

// Each text followed by a NUL, hashed by blocks of 500.
inline Strings block_hashes(const Strings& texts) {
  Strings hashes;
  for (std::size_t begin = 0; begin < texts.size(); begin += 500) {
    std::string block;
    for (std::size_t i = begin; i < std::min(begin + 500, texts.size()); ++i) block += texts[i] + '\0';
    hashes.push_back(sha256_hex(block).substr(0, 16));
  }
  return hashes;
}

}  // namespace mla::test
