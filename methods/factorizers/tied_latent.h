// The split has made the latent itself: k_free is what the cache holds, keys and values are maps of it (k_up, v_up).
#pragma once
#include "methods/parts.h"

namespace mla {
std::unique_ptr<Factorizer> make_tied_latent();
}  // namespace mla
