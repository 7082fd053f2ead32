#include "experiments/model_parity.h"

#include "core/base/error.h"

namespace mla {
namespace {

at::Tensor hidden_rows(const LayerStream& model, const at::Tensor& ids) { return model.last_hidden(ids).flatten(0, 1); }

}  // namespace

Parity compare_logits(const LayerStream& reference, const LayerStream& other, const at::Tensor& ids) {
  constexpr int64_t kRows = 32;
  const at::Tensor a = hidden_rows(reference, ids), b = hidden_rows(other, ids);
  Parity parity{a.size(0), 0, 0};
  for (int64_t begin = 0; begin < a.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, a.size(0) - begin);
    const at::Tensor p = reference.frame().logits(a.narrow(0, begin, rows)).to(at::kCPU, at::kDouble), q = other.frame().logits(b.narrow(0, begin, rows)).to(at::kCPU, at::kDouble);
    parity.max_difference = std::max(parity.max_difference, (p - q).abs().max().item<double>());
    const at::Tensor log_p = at::log_softmax(p, -1);
    parity.kl_nats += (log_p.exp() * (log_p - at::log_softmax(q, -1))).sum().item<double>();
  }
  parity.kl_nats /= static_cast<double>(parity.tokens);
  return parity;
}

LayerStream in_fp32(const LayerStream& model) {
  const auto widen = [](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(at::kFloat);
  };
  Decoder wide = model.frame();
  widen(wide.embedding), widen(wide.final_norm), widen(wide.head);
  return model.changed(std::move(wide), [widen](int64_t, LayerParts, DecoderLayer& layer) { each_layer_tensor(layer, widen); });
}

Json require_parity(const LayerStream& model, const LayerStream& written, const at::Tensor& ids) {
  Parity parity;
  double bound = kExactNats;
  if (model.frame().dtype() == at::kFloat) {
    parity = compare_logits(model, written, ids);
  } else {
    const LayerStream exact = in_fp32(model);
    parity = compare_logits(exact, written, ids);
    bound += kRoundingShare * compare_logits(exact, model, ids).kl_nats;
  }
  if (!(parity.kl_nats <= bound))
    fail<NumericalError>("export", "wanted the written model to give the logits of the one in memory, KL of at most ", bound, " nats, got ", parity.kl_nats,
                         " (largest difference of a logit ", parity.max_difference, ") over ", parity.tokens, " tokens; nothing was kept");
  return {{"tokens", parity.tokens}, {"max_logit_difference", parity.max_difference}, {"kl_nats", parity.kl_nats}, {"bound_nats", bound}};
}

}  // namespace mla
