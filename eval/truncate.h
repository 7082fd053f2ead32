// How a prompt longer than the window loses its middle. The two protocols differ; a result names which one it used.
#pragma once
#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace mla {

struct TruncateOptions {
  int64_t max_length = 0;     // tokens
  bool bos = false;           // the tokenizer puts a BOS in front by itself: it counts, and is dropped from the text
  bool parse_special = false; // Hugging Face reads special tokens in the text; data of others is plain text here unless asked
};

// LongBench: a prompt of more than max_length tokens becomes the text of its first floor(max_length / 2) and last floor(max_length / 2)
// tokens, joined. An odd max_length loses one token; tokenised again the text may have a few tokens more or fewer, and a character cut
// at the seam reads U+FFFD.
std::string truncate_longbench(const Tokenizer& tokenizer, const std::string& prompt, const TruncateOptions& options);

// MHA2MLA: the first ceil(max_length / 2) and the last floor(max_length / 2) tokens, exactly max_length of them. There, max_length is the
// window less the tokens to be generated.
std::vector<int32_t> truncate_tokens(const Tokenizer& tokenizer, const std::string& prompt, const TruncateOptions& options);

}  // namespace mla
