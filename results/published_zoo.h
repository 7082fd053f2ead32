// Published perplexities beside ours.
#pragma once
#include "results/query.h"

namespace mla {

// A row per published perplexity of the store's models (conversions without training, and originals) and finished run that repeats it: same
// model, method, options and text. "Mismatch" says what is not the same: protocol, text, calibration, quantised weights. Published numbers that no run
// repeats and runs without a published number have rows of their own. Corpus and Protocol are those of runs, which `corpus`, `model` and
// `protocol` narrow; a published number without a run names its own there, and is narrowed by its model alone.
Table published_zoo(const Store& store, const QueryParams& params = {});

// The same model under two spellings: "Meta-Llama-3-8B", "llama-3-8b-hf" and "Llama-3-8B.Q4_1" are one.
std::string model_key(std::string_view name);

}  // namespace mla
