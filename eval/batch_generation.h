// Greedy continuations of many prompts, several at a time: one row of tokens per step, each sequence with its own cache, no padding.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/base/division.h"
#include "core/engine/decode_path.h"
#include "core/tokenizer/tokenizer.h"
#include "eval/language_model.h"

namespace mla {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_new_tokens = 64;
  int64_t min_new_tokens = 0;       // stop ids count from the one after it; their logits are left out before
  std::vector<std::string> stop;    // the text ends before the first of these
  std::vector<int32_t> stop_ids;
};
struct Generated {
  std::size_t request = 0;
  std::vector<int32_t> ids;  // as generated, without the stop id
  std::string text;          // of the ids, special tokens left out, cut before the first stop string
  int64_t cache_bytes = 0, cache_tokens = 0;  // of the sequence's cache at its end, all layers
  Json decode = nullptr;  // decode_record() of what generated it
};

struct BatchOptions {
  int64_t batch = 8;                 // sequences at a time; halved when memory runs out
  std::vector<bool> done;            // by request; a group whose requests are all done is left out
  CacheFormat cache;
  DecodePath decode = DecodePath::automatic;  // the engine takes a group as it is, to the end of its last sequence
  Division* division = nullptr;      // groups are divided over processes; only the first gets them
};

// Requests are taken longest prompt first, in groups of `batch` that depend on the requests alone; `finished` gets each group as it
// ends. Throws ConfigError for an empty prompt or a model that the engine was asked for and does not hold, NumericalError, Interrupted.
void generate_batches(LanguageModel& model, const Tokenizer& tokenizer, const std::vector<GenerationRequest>& requests, const BatchOptions& options,
                      const std::function<void(const std::vector<Generated>& group)>& finished);

// Where the first of `stop` begins in `text`; npos when none does.
std::size_t first_stop(const std::string& text, const std::vector<std::string>& stop);

}  // namespace mla
