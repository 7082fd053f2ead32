// One prompt continued greedily, by the engine or by LibTorch: the same tokens as they come, and the same bytes of cache.
#pragma once
#include <functional>
#include <vector>

#include "core/engine/decode_path.h"

namespace mla {

struct PromptOptions {
  int64_t max_new_tokens = 64;    // >= 1; the engine reserves a cache for all of them before the first
  std::vector<int32_t> stop_ids;  // the continuation ends before any of these
  CacheFormat cache;
  int64_t steps = 16;  // of the engine between looks at what it chose; 1 where somebody watches. What comes behind the end is dropped
};
struct PromptContinuation {
  std::vector<int32_t> ids;
  int64_t cache_tokens = 0, cache_bytes = 0;  // at its end, all layers; the last token that was chosen is not in the cache
};

// `on_token` is called with each new id, no later than `steps` after it was chosen; returning false ends the continuation. `way` is decode_way()'s for
// this model and cache. Throws ConfigError for an empty prompt, NumericalError, Interrupted, and what the allocator throws.
PromptContinuation continue_prompt(const Decoder& decoder, const DecodeWay& way, const std::vector<int32_t>& prompt, const PromptOptions& options,
                                   const std::function<bool(int32_t)>& on_token = nullptr);

}  // namespace mla
