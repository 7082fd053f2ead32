// No split at all: keys are rebuilt from their latent and only then rotated (CacheForm::rebuilt).
#pragma once
#include "methods/parts.h"

namespace mla {
std::unique_ptr<Splitter> make_rebuilt_keys();
}  // namespace mla
