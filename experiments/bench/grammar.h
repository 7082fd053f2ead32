// What `mlaforge bench` measures, in llama-bench's grammar: lists of numbers and ranges, and the tests that their cross product makes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace mla {

// "512", "1,2,4", "1-8" (every one), "1-9+4", "512-8192*2", and any of them by commas; order and repetitions stay. `flag` names the option
// in errors, no number may be below `least`. Throws UsageError that names the place in the text and what was wanted there.
std::vector<int64_t> parse_numbers(const std::string& text, const std::string& flag, int64_t least);

// A prompt and what is generated behind it, timed as one: "512,128".
struct PromptGeneration {
  int64_t prompt = 0, generated = 0;
};
// Throws as parse_numbers does.
PromptGeneration parse_pair(const std::string& text, const std::string& flag);

struct BenchCase {
  int64_t prompt = 0, generated = 0;  // tokens of each sequence; one of them may be 0
  int64_t depth = 0;                  // tokens in the cache before the clock starts
  int64_t chunk = 2048;               // tokens of prompts that are read at once (llama-bench's n_batch)
  int64_t sequences = 1;              // in one batch, in step
  int threads = 1;
};

// Values of every option, at least one each but for the first three.
struct BenchGrid {
  std::vector<int64_t> prompts, generated;  // a 0 asks for nothing
  std::vector<PromptGeneration> pairs;
  std::vector<int64_t> depths, chunks, sequences, threads;
};

// In llama-bench's order: of each combination of the others, prompts, generations, pairs. Throws UsageError where nothing is left to measure.
std::vector<BenchCase> cases_of(const BenchGrid& grid);

// "pp512", "tg128", "pp512+tg128", each with " @ d8192" at a depth.
std::string name_of(const BenchCase& test);

// Words of the command line with llama-bench's options of several letters behind one dash (-pg, -npl, -oe) in the long form that the
// parser knows. Those of other commands stay as they are.
std::vector<std::string> bench_words(std::vector<std::string> words);

}  // namespace mla
