// The rows of a calibration corpus, as the datasets that TransMLA draws from give them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace mla {

struct RowOptions {
  std::string rule;   // "" by extension, or a corpus with a rule of its own: "ptb", "alpaca"
  std::string field;  // of JSON rows; "" takes "text", and makes it of instruction, input and output where they stand instead
};

// .jsonl and .json (an array of objects, {"data": [...]}, or an object per line): one row per object.
// Anything else: a row per line with its newline, blank ones left out, as WikiText's rows are.
// "ptb": lines without surrounding blanks. "alpaca": the four fifths that the original's split of the corpus leaves for training.
// Empty rows are left out. Throws CheckpointError naming file, row and the fields that are there.
std::vector<std::string> text_rows(const std::filesystem::path& path, const std::string& content, const RowOptions& options);

// The text of which an evaluation makes windows: a data set's rows, empty ones too, joined by "\n\n" (GPTQ, SliceGPT, TransMLA).
// "wikitext": a row per line with its newline, a blank line is an empty row. "ptb": lines without surrounding blanks. "json": one row per object,
// as text_rows reads them. "alpaca-test": of the fifth that training leaves, the half that the original's second split calls test.
// Throws CheckpointError as text_rows does, ConfigError for another rule.
std::string joined_rows(const std::filesystem::path& path, const std::string& content, const std::string& rule);

// numpy.random.default_rng(seed).permutation(n)
std::vector<int64_t> numpy_permutation(int64_t n, uint32_t seed);

}  // namespace mla
