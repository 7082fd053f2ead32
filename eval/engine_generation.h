// One group of requests through the decode engine.
#pragma once
#include "eval/batch_generation.h"

namespace mla {

// `members` are what the group is of; prompts are read one after another by the model, whose decoder the engine holds with this cache. All
// sequences go on until the last one has ended, some tokens at a time; what comes behind a sequence's end is dropped.
std::vector<Generated> generate_with_engine(LanguageModel& model, const EngineMachine& machine, const Tokenizer& tokenizer, const std::vector<GenerationRequest>& requests,
                                            const std::vector<std::size_t>& members, const CacheFormat& cache);

}  // namespace mla
