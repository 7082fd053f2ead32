#pragma once
#include <functional>
#include <vector>

#include "core/model/decoder.h"

namespace mla {

struct GenerationOptions {
  int64_t max_new_tokens = 64;
  std::vector<int32_t> stop_ids;  // generation ends before any of these
  KvCache* cache = nullptr;       // optional, empty: its format is used, and it holds all tokens but the last afterwards
};

// Greedy continuation of `prompt` (one sequence). `on_token` is called with each new id as it comes; returning false stops.
std::vector<int32_t> generate(const Decoder& decoder, const std::vector<int32_t>& prompt, const GenerationOptions& options,
                              const std::function<bool(int32_t)>& on_token = nullptr);

}  // namespace mla
