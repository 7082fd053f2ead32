#include "methods/healers/mlp_refit.h"

#include "core/base/process.h"
#include "methods/healers/ridge.h"

namespace mla {
namespace {

class MlpRefit : public Healer {
 public:
  explicit MlpRefit(const MlpRefitOptions& options) : options_(options) {}

  LayerPart part() const override { return LayerPart::mlp; }

  void heal(const ConversionContext& context) const override {
    DecoderLayer& layer = context.converted.layers[static_cast<std::size_t>(context.layer)];
    if (layer.experts) return;
    const OutputProjection projection{layer.down, layer.down_bias, layer.mlp_post_norm};
    RidgeSystem system(layer.down);
    for (const HealingBatch& batch : context.batches) {
      throw_if_interrupted();
      const at::Tensor values = context.converted.mlp_values(context.layer, batch.residual).flatten(0, 1).to(at::kFloat);
      const at::Tensor added = projection.norm.defined() ? at::Tensor() : output_now(projection, values);  // a norm bounds it
      system.add(values, wanted_output(projection, batch, values), token_weights(batch, added).flatten());
    }
    system.solve(options_.ridge, layer.down);
  }

 private:
  MlpRefitOptions options_;
};

}  // namespace

std::unique_ptr<Healer> make_mlp_refit(const MlpRefitOptions& options) { return std::make_unique<MlpRefit>(options); }

}  // namespace mla
