#include "methods/healers/output_refit.h"

#include "methods/healers/ridge.h"

namespace mla {
namespace {

class OutputRefit : public Healer {
 public:
  explicit OutputRefit(const OutputRefitOptions& options) : options_(options) {}

  void heal(const ConversionContext& context) const override {
    DecoderLayer& layer = context.converted.layers[static_cast<std::size_t>(context.layer)];
    at::Tensor& o = output_projection(layer.attention);
    const OutputProjection projection{o, output_bias(layer.attention), layer.attention_post_norm};
    RidgeSystem system(o);
    for (const HealingBatch& batch : context.batches) {
      const at::Tensor normed = context.converted.attention_input(context.layer, batch.residual);
      const at::Tensor heads = attention_heads(layer.attention, normed).flatten(0, 1).to(at::kFloat);
      system.add(heads, wanted_output(projection, batch, heads), token_weights(batch).flatten());
    }
    system.solve(options_.ridge, o);
  }

 private:
  OutputRefitOptions options_;
};

}  // namespace

at::Tensor& output_projection(AttentionWeights& weights) {
  return std::visit([](auto& form) -> at::Tensor& { return form.o; }, weights);
}

at::Tensor& output_bias(AttentionWeights& weights) {
  return std::visit([](auto& form) -> at::Tensor& { return form.o_bias; }, weights);
}

std::unique_ptr<Healer> make_output_refit(const OutputRefitOptions& options) { return std::make_unique<OutputRefit>(options); }

}  // namespace mla
