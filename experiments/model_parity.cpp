#include "experiments/model_parity.h"

#include "core/base/error.h"

namespace mla {
namespace {

at::Tensor hidden_rows(const Decoder& model, const at::Tensor& ids) { return model.last_hidden(ids).flatten(0, 1); }

}  // namespace

Parity compare_logits(const Decoder& reference, const Decoder& other, const at::Tensor& ids) {
  constexpr int64_t kRows = 32;
  const at::Tensor a = hidden_rows(reference, ids), b = hidden_rows(other, ids);
  Parity parity{a.size(0), 0, 0};
  for (int64_t begin = 0; begin < a.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, a.size(0) - begin);
    const at::Tensor p = reference.logits(a.narrow(0, begin, rows)).to(at::kCPU, at::kDouble), q = other.logits(b.narrow(0, begin, rows)).to(at::kCPU, at::kDouble);
    parity.max_difference = std::max(parity.max_difference, (p - q).abs().max().item<double>());
    const at::Tensor log_p = at::log_softmax(p, -1);
    parity.kl_nats += (log_p.exp() * (log_p - at::log_softmax(q, -1))).sum().item<double>();
  }
  parity.kl_nats /= static_cast<double>(parity.tokens);
  return parity;
}

Decoder in_fp32(const Decoder& model) {
  Decoder wide = model;
  const auto widen = [](at::Tensor& tensor) { tensor = tensor.to(at::kFloat); };
  widen(wide.embedding), widen(wide.final_norm), widen(wide.head);
  for (DecoderLayer& layer : wide.layers) {
    for (at::Tensor* tensor : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down}) widen(*tensor);
    layer.attention = to(layer.attention, wide.device(), at::kFloat);
  }
  return wide;
}

Json require_parity(const Decoder& model, const Decoder& written, const at::Tensor& ids) {
  Parity parity;
  double bound = kExactNats;
  if (model.dtype() == at::kFloat) {
    parity = compare_logits(model, written, ids);
  } else {
    const Decoder exact = in_fp32(model);
    parity = compare_logits(exact, written, ids);
    bound += kRoundingShare * compare_logits(exact, model, ids).kl_nats;
  }
  if (!(parity.kl_nats <= bound))
    fail<NumericalError>("export", "wanted the written model to give the logits of the one in memory, KL of at most ", bound, " nats, got ", parity.kl_nats,
                         " (largest difference of a logit ", parity.max_difference, ") over ", parity.tokens, " tokens; nothing was kept");
  return {{"tokens", parity.tokens}, {"max_logit_difference", parity.max_difference}, {"kl_nats", parity.kl_nats}, {"bound_nats", bound}};
}

}  // namespace mla
