// Decompositions on disk, one file per layer: a second rank of the same recipe, or another evaluation, does not make them again.
#pragma once
#include <functional>
#include <string>

#include "methods/parts.h"

namespace mla {

// The layer's decomposition, from the cache where it is worth a file. `key` names model, samples, splitter, factorizer, form and
// layer.
Spectrum cached_spectrum(const std::string& key, const SplitLayer& split, const std::function<Spectrum()>& factorize);

}  // namespace mla
