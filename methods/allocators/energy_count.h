#pragma once
#include "methods/parts.h"

namespace mla {
// X-EcoMLA's dynamic rank (arXiv 2503.11132, section 3.1; released code): as many directions as keep their cumulative energy at most
// `ratio` of the whole, at least one, rounded up to a multiple. Per layer and part.
std::unique_ptr<Allocator> make_energy_count(double ratio, int64_t multiple);
}  // namespace mla
