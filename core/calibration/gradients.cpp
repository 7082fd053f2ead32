// The one use of autograd in calibration: gradients of the loss at keys, values and the residual stream of every layer. Layer
// inputs are kept from a forward pass; each layer is then run again with a graph of its own, so memory is one layer's.
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/calibration/moment_sums.h"
#include "core/cuda/token_scores.h"
#include "core/model/cpu_kernels.h"

namespace mla {
namespace {

struct Sums {
  int64_t tokens = 0, batches = 0;
  at::Tensor key, value, residual, key_squares, value_squares;
};

at::Tensor leaf(const at::Tensor& t) { return t.detach().clone().requires_grad_(true); }

// d loss / d hidden of the summed next-token cross-entropy within each sample, in blocks of tokens.  [B,T,D]
at::Tensor loss_gradient(const Decoder& model, const at::Tensor& hidden, const CalibrationBatch& batch) {
  constexpr int64_t kBlock = 512;
  const at::Tensor h = leaf(hidden);
  const at::Tensor last = rms_norm(h, model.final_norm, model.config.rms_norm_eps).narrow(1, 0, h.size(1) - 1).flatten(0, 1);
  const at::Tensor counted = batch.mask.narrow(1, 1, h.size(1) - 1).flatten().to(at::kFloat);
  const at::Tensor targets = batch.ids.narrow(1, 1, h.size(1) - 1).flatten();
  at::Tensor at_last = at::zeros_like(last);
  {
    const at::NoGradGuard no_graph;
    for (int64_t first = 0; first < last.size(0); first += kBlock) {
      const int64_t rows = std::min(kBlock, last.size(0) - first);
      const at::Tensor logits = model.logits(last.narrow(0, first, rows));
      at::Tensor difference = at::softmax(logits, -1);
      difference.scatter_add_(1, targets.narrow(0, first, rows).unsqueeze(1), -at::ones({rows, 1}, difference.options()));
      difference.mul_(counted.narrow(0, first, rows).unsqueeze(1));
      if (const double cap = model.config.logit_softcap; cap > 0) difference.mul_(1 - (logits / cap).square());  // of cap * tanh(x / cap)
      at_last.narrow(0, first, rows).copy_(product(difference.to(model.dtype()), model.head));
    }
  }
  last.backward(at_last);
  return h.grad();
}

// Runs one layer with a graph and returns d loss / d its input, given d loss / d its output.
at::Tensor layer_gradient(const Decoder& model, int64_t index, const at::Tensor& input, const at::Tensor& at_output,
                          const CalibrationBatch& batch, Sums& sums) {
  GqaWeights w = std::get<GqaWeights>(model.layers[static_cast<std::size_t>(index)].attention);
  w.k = leaf(w.k);
  w.v = leaf(w.v);
  const at::Tensor h = leaf(input);
  GqaProjections p = gqa_projections(w, model.attention_input(index, h));
  p.k.retain_grad();
  p.v.retain_grad();
  at::Tensor middle = h + model.after_attention(index, gqa_attention(w, p));
  middle.retain_grad();
  (middle + model.mlp(index, middle)).backward(at_output);

  const at::NoGradGuard no_graph;
  const at::Tensor keys = unmasked_rows(p.k.grad().flatten(2), batch.mask), values = unmasked_rows(p.v.grad().flatten(2), batch.mask),
                   residual = unmasked_rows(middle.grad(), batch.mask);
  add_to(sums.key, keys.t().matmul(keys));
  add_to(sums.value, values.t().matmul(values));
  add_to(sums.residual, residual.t().matmul(residual));
  add_to(sums.key_squares, w.k.grad().to(at::kDouble).square());
  add_to(sums.value_squares, w.v.grad().to(at::kDouble).square());
  sums.tokens += keys.size(0);
  sums.batches += 1;
  return h.grad();
}

GradientMoments finish(const Sums& sums, int64_t groups) {
  const auto n = static_cast<double>(sums.tokens), batches = static_cast<double>(sums.batches);
  const auto mean = [&](const at::Tensor& sum) { return (sum / n).cpu(); };
  const auto per_head = [&](const at::Tensor& squares) { return (squares / batches).sqrt().view({groups, -1}).mean(1).cpu(); };
  return {sums.tokens, mean(sums.key), mean(sums.value), mean(sums.residual), per_head(sums.key_squares), per_head(sums.value_squares)};
}

}  // namespace

std::vector<GradientMoments> collect_gradients(const Decoder& model, const CalibrationSamples& samples) {
  for (const DecoderLayer& layer : model.layers)
    if (!std::holds_alternative<GqaWeights>(layer.attention))
      fail<ConfigError>("calibration", "wanted gradients of an original model, got one that is converted already");
  const c10::InferenceMode normal(false);
  const at::AutoGradMode graph(true);
  // Tensors that were made in inference mode cannot enter a graph; detached aliases of their storage made here can.
  Decoder plain = model;
  const auto alias = [](at::Tensor& t) {
    if (t.defined() && t.is_inference()) t = at::from_blob(t.data_ptr(), t.sizes(), t.strides(), [keep = t](void*) {}, t.options());
  };
  for (at::Tensor* t : {&plain.embedding, &plain.final_norm, &plain.head}) alias(*t);
  for (DecoderLayer& layer : plain.layers) each_layer_tensor(layer, alias);

  const auto layers = static_cast<int64_t>(model.layers.size());
  std::vector<Sums> sums(model.layers.size());
  Progress progress("Gradients", "batches", static_cast<int64_t>(samples.batches.size()));
  int64_t done = 0;
  for (const CalibrationBatch& sampled : samples.batches) {
    const CalibrationBatch batch{sampled.ids.to(model.device()), sampled.mask.to(model.device())};
    std::vector<at::Tensor> inputs;
    at::Tensor hidden;
    {
      const at::NoGradGuard no_graph;
      hidden = plain.embed(batch.ids);
      for (int64_t layer = 0; layer < layers; ++layer) {
        throw_if_interrupted();
        inputs.push_back(hidden);
        hidden = plain.layer_forward(layer, hidden, plain.attention_input(layer, hidden));
      }
    }
    at::Tensor gradient = loss_gradient(plain, hidden, batch);
    for (int64_t layer = layers - 1; layer >= 0; --layer) {
      throw_if_interrupted();
      const auto index = static_cast<std::size_t>(layer);
      gradient = layer_gradient(plain, layer, inputs[index], gradient, batch, sums[index]);
      require_finite(gradient, "in the gradient at layer " + std::to_string(layer));
      inputs[index] = at::Tensor();
    }
    progress.advance(++done);
  }
  std::vector<GradientMoments> moments;
  for (const Sums& each : sums) moments.push_back(finish(each, model.config.num_kv_heads));
  return moments;
}

}  // namespace mla
