#include "experiments/bench/grammar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int64_t kLargest = int64_t{1} << 40;
constexpr std::size_t kMostValues = 10000;

// Reads one option's text from left to right.
class Reader {
 public:
  Reader(const std::string& text, const std::string& flag) : text_(text), flag_(flag) {}

  int64_t number(const std::string& wanted) {
    int64_t value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (end == begin || *begin == '-') wrong(wanted);
    if (error != std::errc() || value > kLargest) wrong("a number of at most " + std::to_string(kLargest));
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool done() const { return at_ >= text_.size(); }

  [[noreturn]] void wrong(const std::string& wanted, std::size_t back = 0) const {
    const std::size_t place = at_ - back;
    const std::string found = place < text_.size() ? "'" + text_.substr(place, 12) + "'" : "its end";
    fail<UsageError>("bench", "wanted ", wanted, " at position ", place + 1, " of ", flag_, " ", text_, ", got ", found);
  }
  std::size_t place() const { return at_; }

 private:
  const std::string& text_;
  const std::string& flag_;
  std::size_t at_ = 0;
};

// One entry of a list: a number, or a range with its step.
void read_range(Reader& reader, int64_t least, std::vector<int64_t>& values) {
  const std::size_t begin = reader.place();
  const int64_t first = reader.number("a number");
  if (first < least) reader.wrong("a number of at least " + std::to_string(least), reader.place() - begin);
  if (!reader.take('-')) return values.push_back(first);
  const std::size_t second = reader.place();
  const int64_t last = reader.number("the range's last number");
  if (last < first) reader.wrong("a last number of at least " + std::to_string(first), reader.place() - second);
  const bool multiplies = reader.take('*'), adds = !multiplies && reader.take('+');
  const std::size_t step_place = reader.place();
  const int64_t step = multiplies || adds ? reader.number("the range's step") : 1;
  if (step < (multiplies ? 2 : 1)) reader.wrong(multiplies ? "a factor of at least 2" : "a step of at least 1", reader.place() - step_place);
  if (multiplies && first == 0) reader.wrong("a first number above 0 in a range with a factor", reader.place() - begin);
  for (int64_t value = first; value <= last; value = multiplies ? value * step : value + step) {
    values.push_back(value);
    if (values.size() > kMostValues) reader.wrong("at most " + std::to_string(kMostValues) + " values", reader.place() - begin);
  }
}

constexpr std::array<std::pair<const char*, const char*>, 3> kSpelt{{{"-pg", "--prompt-gen"}, {"-npl", "--sequences"}, {"-oe", "--output-err"}}};

}  // namespace

std::vector<int64_t> parse_numbers(const std::string& text, const std::string& flag, int64_t least) {
  Reader reader(text, flag);
  std::vector<int64_t> values;
  do read_range(reader, least, values);
  while (reader.take(','));
  if (!reader.done()) reader.wrong("a comma, a range (1-8, 1-9+4, 1-8*2) or the end");
  return values;
}

PromptGeneration parse_pair(const std::string& text, const std::string& flag) {
  Reader reader(text, flag);
  PromptGeneration pair;
  pair.prompt = reader.number("the prompt's number of tokens");
  if (!reader.take(',')) reader.wrong("a comma and the number of generated tokens");
  pair.generated = reader.number("the number of generated tokens");
  if (!reader.done()) reader.wrong("the end");
  return pair;
}

std::vector<BenchCase> cases_of(const BenchGrid& grid) {
  std::vector<std::pair<int64_t, int64_t>> loads;
  for (const int64_t prompt : grid.prompts) loads.emplace_back(prompt, 0);
  for (const int64_t generated : grid.generated) loads.emplace_back(0, generated);
  for (const PromptGeneration& pair : grid.pairs) loads.emplace_back(pair.prompt, pair.generated);
  std::erase(loads, std::pair<int64_t, int64_t>{0, 0});
  if (loads.empty()) fail<UsageError>("bench", "wanted something to measure (-p, -n or -pg above 0), got nothing");
  std::vector<BenchCase> cases;
  for (const int64_t depth : grid.depths)
    for (const int64_t chunk : grid.chunks)
      for (const int64_t sequences : grid.sequences)
        for (const int64_t threads : grid.threads)
          for (const auto& [prompt, generated] : loads) cases.push_back({prompt, generated, depth, chunk, sequences, static_cast<int>(threads)});
  return cases;
}

std::string name_of(const BenchCase& test) {
  std::string name;
  if (test.prompt > 0) name = "pp" + std::to_string(test.prompt);
  if (test.generated > 0) name += (name.empty() ? "tg" : "+tg") + std::to_string(test.generated);
  return test.depth > 0 ? name + " @ d" + std::to_string(test.depth) : name;
}

std::vector<std::string> bench_words(std::vector<std::string> words) {
  const auto is_word = [](const std::string& word) { return !word.empty() && word[0] != '-'; };
  const auto command = words.empty() ? words.end() : std::find_if(words.begin() + 1, words.end(), is_word);
  if (command == words.end() || *command != "bench") return words;
  for (std::string& word : words)
    for (const auto& [dash, spelt] : kSpelt)
      if (word == dash) word = spelt;
  return words;
}

}  // namespace mla
