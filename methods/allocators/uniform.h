#pragma once
#include "methods/parts.h"

namespace mla {
// The same rank for every compressed part. A part that admits less makes allocate() throw ConfigError, or gets what it admits with
// `cut`: for --cache-values, which asks for a total of at most N.
std::unique_ptr<Allocator> make_uniform(int64_t rank, std::string option, bool cut = false);
}  // namespace mla
