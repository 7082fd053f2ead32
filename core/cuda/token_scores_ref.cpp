#include "core/cuda/token_scores.h"

namespace mla::reference {

TokenScores token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets) {
  std::vector<at::Tensor> nll, kld, same, top;
  at::Tensor log_p;
  for (const StageHidden& stage : stages) {
    at::Tensor logits = stage.hidden.to(at::kCPU, at::kDouble).matmul(stage.head.to(at::kCPU, at::kDouble).t());
    if (stage.softcap > 0) logits = at::tanh(logits / stage.softcap) * stage.softcap;
    const at::Tensor log_q = at::log_softmax(logits, -1);
    if (!log_p.defined()) log_p = log_q;
    nll.push_back(-log_q.gather(1, targets.unsqueeze(1)).squeeze(1));
    kld.push_back((log_p.exp() * (log_p - log_q)).sum(1));
    top.push_back(log_q.argmax(1));
    same.push_back(log_p.argmax(1) == log_q.argmax(1));
  }
  return {at::stack(nll), at::stack(kld), at::stack(same), at::stack(top)};
}

}  // namespace mla::reference
