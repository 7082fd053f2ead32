#pragma once
#include "methods/parts.h"

namespace mla {
extern const RecipeEntry care;
extern const RecipeEntry elitekv;
extern const RecipeEntry gla;
extern const RecipeEntry gta;
extern const RecipeEntry kq_svd;
extern const RecipeEntry mha2mla;
extern const RecipeEntry mla_retrofit;
extern const RecipeEntry palu;
extern const RecipeEntry stream_match;
extern const RecipeEntry svd;
extern const RecipeEntry svd_llm;
extern const RecipeEntry transmla;
extern const RecipeEntry transmla_converter;
extern const RecipeEntry x_ecomla;
}  // namespace mla
