#include "core/model/experts.h"

#include "core/model/cpu_kernels.h"

namespace mla {

at::Tensor experts_forward(const Experts& experts, const at::Tensor& x, Activation activation) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  const at::Tensor shares = at::softmax(project(rows, experts.router).to(at::kFloat), -1);
  const auto [weights, chosen] = at::topk(shares, experts.per_token);  // [N,k] each
  const at::Tensor scaled = weights / weights.sum(-1, true);
  at::Tensor out = at::zeros_like(rows);
  for (int64_t e = 0; e < experts.router.size(0); ++e) {
    const at::Tensor places = (chosen == e).nonzero();  // [n,2]: token, which of its choices
    if (places.size(0) == 0) continue;
    const at::Tensor tokens = places.select(1, 0), weight = scaled.index({tokens, places.select(1, 1)}).unsqueeze(1);
    const at::Tensor inner = gated(project(rows.index_select(0, tokens), experts.gate_up[e]), activation);
    out.index_add_(0, tokens, (project(inner, experts.down[e]).to(at::kFloat) * weight).to(x.scalar_type()));
  }
  return out.view(x.sizes());
}

}  // namespace mla
