#include "core/model/mixed_values.h"

#include "core/model/tiled_attention.h"

#include <limits>

namespace mla {
namespace {

constexpr int64_t kQueryBlock = 128;  // queries per block: scores of one block stay in cache

at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  const int64_t queries = q.size(1), share = q.size(2) / k.size(2), v_dim = v.size(3), window = scoring.limits.window;
  const auto heads_first = [](const at::Tensor& t) { return t.transpose(1, 2); };
  // What no query sees is cut off; a mask hides from each what only others see.
  const int64_t first = scoring.mask.defined() || window == 0 ? 0 : std::max<int64_t>(0, k.size(1) - queries - window + 1), keys = k.size(1) - first;
  const auto seen = [&](const at::Tensor& t) { return heads_first(t.narrow(1, first, keys)).repeat_interleave(share, 1); };
  // The flash back ends want one width for all three: zero columns of v come out as zeros and are cut again.
  const int64_t padding = q.size(3) - v_dim;
  const at::Tensor wide_v = padding > 0 ? at::constant_pad_nd(v, {0, padding}) : v;
  std::optional<at::Tensor> mask;
  if (scoring.mask.defined()) mask = scoring.mask.to(q.options());
  else if (queries > 1 && (queries != keys || (window > 0 && window < keys)))
    mask = at::ones({queries, keys}, q.options().dtype(at::kBool)).tril_(keys - queries);
  if (mask && !scoring.mask.defined() && window > 0) mask->triu_(keys - queries - window + 1);
  const at::Tensor out = at::scaled_dot_product_attention(heads_first(q), seen(k), seen(wide_v), mask, 0.0, !mask && queries > 1, scoring.scale);
  return heads_first(out).narrow(-1, 0, v_dim);
}

// Adds minus infinity to `scores` [.., share, rows, seen] where a row may not look: the last `rows` of the keys are its own and later
// ones' tokens; `past` of the keys stand before the first row's own.
void hide(const at::Tensor& scores, int64_t past, int64_t window) {
  const int64_t rows = scores.size(2), seen = scores.size(3), diagonal = past - window;  // row r does not see keys up to r + diagonal
  const float hidden = -std::numeric_limits<float>::infinity();
  if (rows > 1) scores.narrow(3, seen - rows, rows).add_(at::full({rows, rows}, hidden, scores.options()).triu_(1));
  if (window > 0 && rows - 1 + diagonal >= 0) scores.add_(at::full({rows, seen}, hidden, scores.options()).tril_(diagonal));
}

// Blocks of queries against the keys that they may see; the heads of a group are rows of one GEMM.
at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  const int64_t batch = q.size(0), queries = q.size(1), heads = q.size(2), keys = k.size(1), groups = k.size(2);
  const int64_t share = heads / groups, past = keys - queries, window = scoring.mask.defined() ? 0 : scoring.limits.window;
  const auto by_group = [&](const at::Tensor& t) { return t.permute({0, 2, 1, 3}).reshape({batch * groups, keys, t.size(3)}); };
  const at::Tensor k_rows = by_group(k), v_rows = by_group(v);
  const at::Tensor q_groups = q.unflatten(2, {groups, share}).permute({0, 2, 3, 1, 4});  // [B,G,share,T,dk]
  at::Tensor out = at::empty({batch, queries, groups, share, v.size(3)}, q.options());

  for (int64_t start = 0; start < queries; start += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, queries - start), first = window > 0 ? std::max<int64_t>(0, past + start - window + 1) : 0;
    const int64_t visible = past + start + rows - first;
    const at::Tensor block = (q_groups.narrow(3, start, rows) * scoring.scale).reshape({batch * groups, share * rows, q.size(3)});
    at::Tensor scores = at::bmm(block, k_rows.narrow(1, first, visible).transpose(1, 2)).to(at::kFloat);
    if (scoring.limits.softcap > 0) scores = at::tanh(scores / scoring.limits.softcap) * scoring.limits.softcap;
    const at::Tensor by_row = scores.view({batch * groups, share, rows, visible});
    if (scoring.mask.defined()) by_row.add_(scoring.mask.narrow(0, start, rows).narrow(1, 0, visible).to(scores.options()));  // hides what comes later too
    else hide(by_row, visible - rows, window);
    const at::Tensor mixed = at::bmm(at::softmax(scores, -1).to(v.scalar_type()), v_rows.narrow(1, first, visible));
    out.narrow(1, start, rows).copy_(mixed.view({batch, groups, share, rows, v.size(3)}).permute({0, 3, 1, 2, 4}));
  }
  return out.flatten(2, 3);
}

}  // namespace

at::Tensor mixed_values(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  if (tiled_attention_takes(q, k, v, scoring)) return tiled_attention(q, k, v, scoring);
  const bool own_blocks = (q.device().is_cpu() && q.scalar_type() == at::kFloat) || scoring.limits.softcap > 0;  // ATen's operator has no soft-cap
  return own_blocks ? blocked_attention(q, k, v, scoring) : fused_attention(q, k, v, scoring);
}

at::Tensor with_window(const at::Tensor& mask, const at::Tensor& query_positions, const at::Tensor& key_positions, int64_t window) {
  const at::Tensor behind = query_positions.unsqueeze(1) - key_positions.unsqueeze(0);
  return mask.masked_fill(behind.ge(window).to(mask.device()), -std::numeric_limits<float>::infinity());
}

}  // namespace mla
