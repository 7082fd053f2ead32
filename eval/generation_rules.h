// What both ways of generating in batches do alike.
#pragma once
#include "eval/batch_generation.h"

namespace mla {

at::Tensor positions_from(int64_t start, int64_t count);  // [count] int64: start ..

// Reads a prompt into an empty cache.  -> [D] the normed hidden state at its last token
at::Tensor read_prompt(LanguageModel& model, const std::vector<int32_t>& prompt, KvCache& cache);

// Whether the text so far holds a stop string; only what the last token can have completed is looked at.
bool stops(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const std::vector<std::string>& stop);

bool is_stop_id(const GenerationRequest& request, int32_t id);

// The text of a request's ids, cut before the first stop string.
std::string generated_text(const Tokenizer& tokenizer, const GenerationRequest& request, const std::vector<int32_t>& ids);

}  // namespace mla
