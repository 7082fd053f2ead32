#pragma once
#include "core/checkpoint/gguf_writer.h"
#include "core/tokenizer/tokenizer.h"

namespace mla {

// tokenizer.ggml.* of the vocabulary, with unused tokens up to `rows`, the embedding's. Throws ConfigError where llama.cpp has no such
// tokenizer (Metaspace that cuts at words, white space that added tokens take along is lost there), or for more tokens than rows.
void add_vocabulary(const Tokenizer& tokenizer, int64_t rows, GgufWriter& out);

}  // namespace mla
