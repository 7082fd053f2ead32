// A text cut into windows by a named protocol.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace mla {

struct WindowOptions {
  int64_t window = 2048;     // tokens
  int64_t max_windows = 0;   // 0: all
  int64_t skip_windows = 0;  // the first ones that are left out
};

struct Windows {
  at::Tensor ids;        // [N, window] int64
  std::string protocol;  // "hf-chunk/512/first16", "hf-chunk/512/windows9-40" or "hf-chunk/512"
  std::string corpus;    // file stem; callers that know a better name set it
  std::string sha256;    // of the text
  int64_t text_tokens = 0;
};

// Protocol hf-chunk (spec: whole text tokenised once without special tokens, disjoint windows, tail dropped).
// Throws ConfigError when the text holds less than one window.
Windows chunk_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const WindowOptions& options);

}  // namespace mla
