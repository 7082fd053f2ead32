// Cuts text into the pieces within which merges may happen. The patterns of known tokenizers are coded by hand over ICU's
// Unicode 15 properties: no pattern of a file is ever compiled, and Unicode 14 tables of a regex library play no part.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mla {

enum class Pretokenizer {
  gpt2,    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  smollm,  // every \p{N} alone, then gpt2 on what lies between
  llama3,  // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  qwen2,   // the same with \p{N} in place of \p{N}{1,3}
  whole,   // the text is one piece
  words,   // a piece begins at each U+2581 (Metaspace with split)
};

// `text` must be valid UTF-8. Pieces are views of it, in order, without gaps.
std::vector<std::string_view> split_pieces(std::string_view text, Pretokenizer kind);

// Without white space at both ends, as Python's str.strip does it: Unicode's, and the separators U+001C to U+001F.
std::string_view strip_space(std::string_view text);

// Valid UTF-8: each maximal ill-formed part becomes U+FFFD, as Python's errors="replace" does.
std::string sanitize_utf8(std::string_view bytes);

}  // namespace mla
