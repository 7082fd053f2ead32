#pragma once
#include "methods/parts.h"

namespace mla {
extern const RecipeEntry mha2mla;
extern const RecipeEntry stream_match;
extern const RecipeEntry transmla;
}  // namespace mla
