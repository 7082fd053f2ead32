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
};

// `text` must be valid UTF-8. Pieces are views of it, in order, without gaps.
std::vector<std::string_view> split_pieces(std::string_view text, Pretokenizer kind);

// Valid UTF-8: each maximal ill-formed part becomes U+FFFD, as Python's errors="replace" does.
std::string sanitize_utf8(std::string_view bytes);

}  // namespace mla
