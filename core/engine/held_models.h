// Which models and caches the decode engine holds; the others are decoded through LibTorch.
#pragma once
#include <optional>
#include <string>

#include "core/model/decoder.h"

namespace mla {

// Why the engine does not hold it, as the end of a sentence ("layer 3 has experts"); nothing where it does.
std::optional<std::string> why_not_held(const Decoder& decoder, const CacheFormat& format);

// Whether decoding with the engine gives what the format's rule gives (core/model/kv_cache.h). Integers of a latent layer do not: its rope
// keys stay in the model's dtype.
bool follows_rule(const Decoder& decoder, const CacheFormat& format);

}  // namespace mla
