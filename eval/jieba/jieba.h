// Chinese word segmentation: the package jieba 0.42.1 in its precise mode with the hidden Markov model, token for token.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mla {

// Log-probabilities of finalseg's tables, states in the order B, E, M, S.
struct JiebaHmm {
  std::array<double, 4> start;
  std::array<std::array<double, 4>, 4> transition;            // [from][to]
  std::array<std::unordered_map<char32_t, double>, 4> emission;
};

// Immutable once loaded; safe to share between threads.
class Jieba {
 public:
  // Reads dict.txt and hmm.txt (scripts/jieba_tables makes them of the package). Throws CheckpointError with file and line.
  static Jieba load(const std::filesystem::path& folder);
  // The first folder that holds both files, of: each of `roots`/jieba, $MLAFORGE_CACHE/jieba, .cache/jieba below the current
  // folder. Empty where none does.
  static std::filesystem::path find(const std::vector<std::filesystem::path>& roots = {});
  // load(find(roots)). Throws CheckpointError that says where was looked and how to get the files.
  static Jieba load_found(const std::vector<std::filesystem::path>& roots = {});

  // Tokens are views of `text`, in order, without gaps.
  std::vector<std::u32string_view> cut(std::u32string_view text) const;

 private:
  // The dictionary's words and their prefixes as a tree; node 0 is the root. frequency 0: only a prefix.
  int32_t child(int32_t node, char32_t c) const;
  int64_t frequency(std::u32string_view word) const;
  void add_word(std::u32string_view word, int64_t count);
  void read_dictionary(const std::filesystem::path& file);
  void cut_block(std::u32string_view block, std::vector<std::u32string_view>& out) const;

  std::unordered_map<uint64_t, int32_t> children_;
  std::vector<int64_t> frequency_{0};
  double log_total_ = 0;
  JiebaHmm hmm_;
};

// finalseg.cut: what the dictionary does not know. In hmm_cut.cpp.
void hmm_cut(const JiebaHmm& hmm, std::u32string_view text, std::vector<std::u32string_view>& out);

inline bool is_han(char32_t c) { return c >= 0x4E00 && c <= 0x9FD5; }
inline bool is_ascii_alnum(char32_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace mla
