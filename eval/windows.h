// A text cut into windows by a named protocol. What the protocols are and who uses them: docs/evaluation.md.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace mla {

struct WindowOptions {
  std::string protocol = "hf-chunk";  // hf-chunk, hf-stride, llama.cpp, lm-eval
  int64_t window = 2048;     // tokens that a model reads at once
  int64_t stride = 0;        // of hf-stride; 0: half the window
  std::string bos = "none";  // none; text: one token at its beginning; window: in place of each window's first token. lm-eval has its own rule
  std::string rows;          // rule of joined_rows (core/calibration/text_rows.h) by which a data set's rows become one text; empty: the file as it stands
  int64_t max_windows = 0;   // 0: all
  int64_t skip_windows = 0;  // the first ones that are left out
};

struct Windows {
  at::Tensor ids;        // [N, W] int64
  at::Tensor lengths;    // optional [N] int64: tokens of each window, what stands behind them is padding; undefined: all W
  at::Tensor scored;     // optional [N, W-1] bool: which predictions count; undefined: all
  std::string protocol;  // "hf-chunk/512/first16", "hf-stride/512/256", "llama.cpp/512/bos-window", "lm-eval/2048"
  std::string corpus;    // file stem; callers that know a better name set it
  std::string sha256;    // of the text
  int64_t text_tokens = 0;
  int64_t words = 0, bytes = 0;  // of the text that the windows were made of, for lm-eval's normalisers; 0: not counted
};

const std::vector<std::string>& window_protocols();

// hf-chunk: the whole text tokenised once, disjoint windows, the tail dropped (GPTQ, TransMLA).
// hf-stride: windows every `stride` tokens, each scoring only what none before it scored (the transformers documentation).
// llama.cpp: disjoint windows of which the second half is scored.
// lm-eval: documents (pages where the text has WikiText's headings) after wikitext_detokenize, each scored whole: the first window
//   behind BOS (else EOS), every later one behind the token before it; the last one reaches back as far as the window allows.
// Throws ConfigError when the text holds less than one window, or where a BOS is wanted and the tokenizer has none.
Windows cut_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const WindowOptions& options);

// The first `count` windows alone; words and bytes, which are of the whole text, are forgotten where something is cut.
void cut_windows(Windows& windows, int64_t count);

// lm-evaluation-harness's detokeniser of WikiText: undoes the spaces around punctuation and the @-@ signs.
std::string wikitext_detokenize(std::string text);
// WikiText's pages: a page begins at a line " = Title = ". One document where there is none.
std::vector<std::string> wikitext_pages(const std::string& text);
// len(re.split("\s+", text)) of Python: white space at an edge counts an empty word.
int64_t count_words(const std::string& text);

}  // namespace mla
