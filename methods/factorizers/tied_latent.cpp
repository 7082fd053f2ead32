#include "methods/factorizers/tied_latent.h"

#include "core/base/error.h"
#include "methods/factorizers/weighted_svd.h"

namespace mla {
namespace {

class TiedLatent : public Factorizer {
 public:
  StatKinds needs() const override { return {}; }
  Json state() const override { return {{"factorizer", "tied_latent"}}; }
  Spectrum factorize(const SplitLayer& layer, const LayerStats&) const override {
    if (!layer.v_up.defined()) fail<ConfigError>("tied_latent", "wanted a splitter that ties values to k_free (v_up), got one that does not");
    const at::Tensor up = placed_rows(layer, layer.k_up, 0, 0, layer.groups) + placed_rows(layer, layer.v_up, layer.nope_dim, 0, layer.groups);
    return {{{layer.k_free, up, at::ones({layer.k_free.size(0)}, layer.k_free.options()), false}}};
  }
};

}  // namespace

std::unique_ptr<Factorizer> make_tied_latent() { return std::make_unique<TiedLatent>(); }

}  // namespace mla
