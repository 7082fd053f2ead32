// Truncated SVD of W_K and W_V themselves, no data: the baseline of the whole family.
#include "methods/registry.h"
#include "methods/svd_family.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "svd");
  return make_svd_recipe(read, model, {"svd", SvdMetric::weights, 0}, Json::object(), "svd");
}

}  // namespace

const RecipeEntry svd{"svd", "truncated SVD of the key and value weights, no data", "Eckart and Young 1936; baseline of arXiv 2603.17946",
                      with_svd_options({}), {"no split, or a partial-RoPE split", "SVD of the weights", "ranks"}, svd_exports(), make};

}  // namespace mla
