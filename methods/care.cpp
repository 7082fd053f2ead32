// CARE (arXiv 2603.17946, section 3): SVD under sqrt(C), the covariance shrunk towards a multiple of the identity.
#include "core/base/error.h"
#include "methods/registry.h"
#include "methods/svd_family.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "care");
  const std::string metric = read.choice("metric", "sqrt", {"sqrt", "C"});
  const double shrinkage = read.number("shrinkage", 0.01);
  if (shrinkage < 0 || shrinkage > 1) fail<ConfigError>("care", "wanted --shrinkage in [0, 1], got ", shrinkage);
  const SvdFamilyMember member{"care", metric == "C" ? SvdMetric::squared : SvdMetric::second_moment, shrinkage};
  return make_svd_recipe(read, model, member, {{"metric", metric}, {"shrinkage", shrinkage}}, metric == "C" ? "care C" : "care");
}

}  // namespace

const RecipeEntry care{"care", "covariance-aware SVD with shrinkage", "arXiv 2603.17946",
                       with_svd_options({{"metric", "sqrt", "sqrt: error of the outputs; C: weights times the covariance itself"},
                                         {"shrinkage", "0.01", "a in (1 - a) C + a mean(diag C) I"}}),
                       {"no split, or a partial-RoPE split", "covariance-weighted SVD", "ranks"}, svd_exports(), make};

}  // namespace mla
