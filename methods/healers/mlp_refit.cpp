#include "methods/healers/mlp_refit.h"

#include "core/base/process.h"
#include "methods/healers/ridge.h"

namespace mla {
namespace {

class MlpRefit : public Healer {
 public:
  explicit MlpRefit(const MlpRefitOptions& options) : options_(options) {}

  void heal(const ConversionContext& context) const override {
    DecoderLayer& layer = context.converted.layers[static_cast<std::size_t>(context.layer)];
    if (layer.experts) return;
    const OutputProjection projection{layer.down, layer.down_bias, layer.mlp_post_norm};
    RidgeSystem system(layer.down);
    for (const HealingBatch& batch : context.batches) {
      throw_if_interrupted();
      const at::Tensor normed = context.converted.attention_input(context.layer, batch.residual);
      const at::Tensor stream = batch.residual + context.converted.attention_output(context.layer, normed);
      const HealingBatch behind{stream, batch.target + context.original.mlp(context.layer, batch.target), batch.mask};
      const at::Tensor values = context.converted.mlp_values(context.layer, stream).flatten(0, 1).to(at::kFloat);
      system.add(values, wanted_output(projection, behind, values), token_weights(behind).flatten());
    }
    system.solve(options_.ridge, layer.down);
  }

 private:
  MlpRefitOptions options_;
};

}  // namespace

std::unique_ptr<Healer> make_mlp_refit(const MlpRefitOptions& options) { return std::make_unique<MlpRefit>(options); }

}  // namespace mla
