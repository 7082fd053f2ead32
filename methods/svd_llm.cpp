// Activation-whitened SVD (SVD-LLM, arXiv 2403.07378, section 3.1): truncation error is measured on the outputs.
#include "methods/registry.h"
#include "methods/svd_family.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "svd_llm");
  return make_svd_recipe(read, model, {"svd_llm", SvdMetric::second_moment, 0}, Json::object(), "svd_llm");
}

}  // namespace

const RecipeEntry svd_llm{"svd_llm", "SVD whitened by the inputs' second moment", "arXiv 2403.07378", with_svd_options({}),
                          {"no split, or a partial-RoPE split", "whitened SVD", "ranks"}, svd_exports(), make};

}  // namespace mla
