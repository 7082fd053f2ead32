#pragma once
#include "methods/parts.h"

namespace mla {
// The same rank for every compressed part, cut to what a part admits: for --cache-values, which asks for a total of at most N.
std::unique_ptr<Allocator> make_at_most(int64_t rank);
}  // namespace mla
