#include "core/model/attention.h"

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/model/cpu_kernels.h"

namespace mla {
namespace {

constexpr double kLatentNormEps = 1e-6;  // of the latents' norms, as DeepSeek-V2's classes have it
constexpr int64_t kQueryBlock = 128;  // queries per block: scores of one block stay in cache

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {}) {
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

void require_width(const char* form, const at::Tensor& x, int64_t width) {
  if (x.dim() != 3 || x.size(2) != width) fail<ShapeError>(form, "wanted x [B,T,", width, "], got ", x.sizes());
}

RopeTable table_for(const RopePlan& plan, const at::Tensor& x, const LayerCache* cache) {
  return rope_table(plan, cache != nullptr ? cache->length() : 0, x.size(1), x.device());
}

}  // namespace

GqaProjections gqa_projections(const GqaWeights& w, const at::Tensor& x) {
  GqaProjections p{project(x, w.q, w.q_bias).unflatten(-1, {w.heads, w.head_dim}), project(x, w.k, w.k_bias).unflatten(-1, {w.kv_heads, w.head_dim}),
                   project(x, w.v, w.v_bias).unflatten(-1, {w.kv_heads, w.head_dim})};
  if (w.norm) {
    p.q = rms_norm(p.q, w.norm->query, w.norm->eps);
    p.k = rms_norm(p.k, w.norm->key, w.norm->eps);
  }
  return p;
}

at::Tensor gqa_attention(const GqaWeights& w, const GqaProjections& p) {
  const RopeTable table = rope_table(w.rope, 0, p.q.size(1), p.q.device());
  return project(causal_attention(apply_rope(p.q, table), apply_rope(p.k, table), p.v, w.scale).flatten(2), w.o, w.o_bias);
}

at::Tensor normed_projections(const NormedProjections& w, const at::Tensor& x) {
  const at::Tensor q = project(x, w.q, w.q_bias).unflatten(-1, {-1, w.head_dim}), k = project(x, w.k, w.k_bias).unflatten(-1, {-1, w.head_dim});
  return at::cat({rms_norm(q, w.norm.query, w.norm.eps).flatten(2), rms_norm(k, w.norm.key, w.norm.eps).flatten(2), project(x, w.v, w.v_bias)}, -1);
}

namespace {

// ---- grouped-query attention ----------------------------------------------------------------------------------------

at::Tensor heads_of(const GqaWeights& w, const at::Tensor& x, LayerCache* cache, MlaPath) {
  require_width("gqa_attention", x, w.q.size(1));
  const RopeTable table = table_for(w.rope, x, cache);
  GqaProjections p = gqa_projections(w, x);
  const at::Tensor q = apply_rope(p.q, table);
  at::Tensor k = apply_rope(p.k, table), v = p.v.flatten(2);
  if (cache != nullptr) {
    cache->append(k.flatten(2), v);
    k = cache->first.unflatten(-1, {w.kv_heads, w.head_dim});
    v = cache->second;
  }
  return causal_attention(q, k, v.unflatten(-1, {w.kv_heads, w.head_dim}), w.scale).flatten(2);
}

// ---- multi-head latent attention ------------------------------------------------------------------------------------

struct MlaInputs {
  at::Tensor q_nope;  // [B,T,H,n]
  at::Tensor q_rope;  // [B,T,H,d_R], rotated
  at::Tensor latent;  // [B,S,r], cache included
  at::Tensor k_rope;  // [B,S,rope_heads,d_R], rotated
};

// What queries and what latent and rope key are projected from: x, or u's parts where heads are normed.
std::pair<at::Tensor, at::Tensor> latent_inputs(const MlaWeights& w, const at::Tensor& x) {
  if (!w.normed) return {x, x};
  const at::Tensor u = normed_projections(*w.normed, x);
  return {u.narrow(-1, 0, w.normed->query_width()), u.narrow(-1, w.normed->query_width(), w.normed->key_value_width())};
}

}  // namespace

MlaLatents mla_latents(const MlaWeights& w, const at::Tensor& x) {
  const auto [query_input, key_input] = latent_inputs(w, x);
  return {project(key_input, w.kv_a, w.kv_a_bias), project(key_input, w.k_rope, w.k_rope_bias),
          w.q_a.defined() ? project(query_input, w.q_a, w.q_a_bias) : at::Tensor()};
}

namespace {

at::Tensor mla_queries(const MlaWeights& w, const at::Tensor& input) {
  if (w.q.defined()) return project(input, w.q, w.q_bias);
  const at::Tensor low = project(input, w.q_a, w.q_a_bias);
  return project(w.q_a_norm.defined() ? rms_norm(low, w.q_a_norm, kLatentNormEps) : low, w.q_b, w.q_bias);
}

MlaInputs mla_inputs(const MlaWeights& w, const at::Tensor& x, LayerCache* cache) {
  const int64_t rope_dim = w.rope.dims();
  const RopeTable table = table_for(w.rope, x, cache);
  const auto [query_input, key_input] = latent_inputs(w, x);
  const at::Tensor q = mla_queries(w, query_input).unflatten(-1, {w.heads, w.nope_dim + rope_dim});
  MlaInputs in;
  in.q_nope = q.narrow(-1, 0, w.nope_dim);
  in.q_rope = rope_dim > 0 ? apply_rope(q.narrow(-1, w.nope_dim, rope_dim), table) : q.narrow(-1, w.nope_dim, 0);
  in.latent = project(key_input, w.kv_a, w.kv_a_bias);
  if (w.kv_a_norm.defined()) in.latent = rms_norm(in.latent, w.kv_a_norm, kLatentNormEps);
  at::Tensor key = project(key_input, w.k_rope, w.k_rope_bias).unflatten(-1, {w.rope.rope_heads(), rope_dim});
  if (rope_dim > 0) key = apply_rope(key, table);
  if (cache != nullptr) {
    cache->append(in.latent, key.flatten(2));
    in.latent = cache->first;
    key = cache->second.unflatten(-1, {w.rope.rope_heads(), rope_dim});
  }
  in.k_rope = key;
  return in;
}

// Keys and values are rebuilt from the latent: cheap when many queries share them.
at::Tensor mla_expanded(const MlaWeights& w, const MlaInputs& in) {
  const at::Tensor up = project(in.latent, w.kv_b).unflatten(-1, {w.groups, w.nope_dim + w.v_dim});
  const at::Tensor k_rope = in.k_rope.expand({-1, -1, w.groups, -1});
  const at::Tensor k = at::cat({up.narrow(-1, 0, w.nope_dim), k_rope}, -1);
  const at::Tensor q = at::cat({in.q_nope, in.q_rope}, -1);
  return causal_attention(q, k, up.narrow(-1, w.nope_dim, w.v_dim), w.scale);
}

// The up-projections are applied to queries and outputs instead, so that the cache is read as it is.
at::Tensor mla_absorbed(const MlaWeights& w, const MlaInputs& in) {
  const int64_t share = w.heads / w.groups, rank = w.rank();
  const at::Tensor up = w.kv_b.view({w.groups, w.nope_dim + w.v_dim, rank});
  const at::Tensor k_up = up.narrow(1, 0, w.nope_dim), v_up = up.narrow(1, w.nope_dim, w.v_dim);
  // [B,T,G,share,n] x [G,n,r] -> [B,T,H,r]
  const at::Tensor q_latent =
      at::einsum("btgsn,gnr->btgsr", {in.q_nope.unflatten(2, {w.groups, share}), k_up}).flatten(2, 3);
  const at::Tensor q = at::cat({q_latent, in.q_rope}, -1);
  const int64_t key_heads = in.k_rope.size(2);
  const at::Tensor latent = in.latent.unsqueeze(2).expand({-1, -1, key_heads, -1});
  const at::Tensor mixed = causal_attention(q, at::cat({latent, in.k_rope}, -1), latent, w.scale);  // [B,T,H,r]
  return at::einsum("btgsr,gvr->btgsv", {mixed.unflatten(2, {w.groups, share}), v_up}).flatten(2, 3);
}

at::Tensor heads_of(const MlaWeights& w, const at::Tensor& x, LayerCache* cache, MlaPath path) {
  require_width("mla_attention", x, w.o.size(0));
  const MlaInputs in = mla_inputs(w, x, cache);
  const bool absorbed = path == MlaPath::absorbed || (path == MlaPath::automatic && cache != nullptr && x.size(1) == 1);
  return (absorbed ? mla_absorbed(w, in) : mla_expanded(w, in)).flatten(2);
}

// ---- low-rank keys and values ---------------------------------------------------------------------------------------

at::Tensor heads_of(const LowRankKvWeights& w, const at::Tensor& x, LayerCache* cache, MlaPath) {
  require_width("low_rank_kv_attention", x, w.q.size(1));
  const RopeTable table = table_for(w.rope, x, cache);
  at::Tensor q = project(x, w.q, w.q_bias).unflatten(-1, {w.heads, w.head_dim});
  if (w.norm) q = rms_norm(q, w.norm->query, w.norm->eps);
  q = apply_rope(q, table);
  at::Tensor k = project(x, w.k_a, w.k_a_bias), v = project(x, w.v_a, w.v_a_bias);
  if (cache != nullptr) {
    cache->append(k, v);
    k = cache->first;
    v = cache->second;
  }
  const RopeTable key_table = rope_table(w.rope, 0, k.size(1), x.device());
  at::Tensor keys = project(k, w.k_b).unflatten(-1, {w.kv_heads, w.head_dim});
  if (w.norm) keys = rms_norm(keys, w.norm->key, w.norm->eps);
  keys = apply_rope(keys, key_table);
  const at::Tensor values = project(v, w.v_b).unflatten(-1, {w.kv_heads, w.head_dim});
  return causal_attention(q, keys, values, w.scale).flatten(2);
}

// ---- softmax(q k^T) v -----------------------------------------------------------------------------------------------

at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const int64_t queries = q.size(1), keys = k.size(1), share = q.size(2) / k.size(2), v_dim = v.size(3);
  const auto heads_first = [](const at::Tensor& t) { return t.transpose(1, 2); };
  // The flash back ends want one width for all three: zero columns of v come out as zeros and are cut again.
  const int64_t padding = q.size(3) - v_dim;
  const at::Tensor wide_v = padding > 0 ? at::constant_pad_nd(v, {0, padding}) : v;
  std::optional<at::Tensor> mask;
  if (queries > 1 && queries != keys)
    mask = at::ones({queries, keys}, q.options().dtype(at::kBool)).tril_(keys - queries);
  const at::Tensor out = at::scaled_dot_product_attention(
      heads_first(q), heads_first(k).repeat_interleave(share, 1), heads_first(wide_v).repeat_interleave(share, 1), mask, 0.0,
      queries > 1 && queries == keys, scale);
  return heads_first(out).narrow(-1, 0, v_dim);
}

// Blocks of queries against the keys that they may see; the heads of a group are rows of one GEMM.
at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const int64_t batch = q.size(0), queries = q.size(1), heads = q.size(2), keys = k.size(1), groups = k.size(2);
  const int64_t share = heads / groups, past = keys - queries;
  const auto by_group = [&](const at::Tensor& t) { return t.permute({0, 2, 1, 3}).reshape({batch * groups, keys, t.size(3)}); };
  const at::Tensor k_rows = by_group(k), v_rows = by_group(v);
  const at::Tensor q_groups = q.unflatten(2, {groups, share}).permute({0, 2, 3, 1, 4});  // [B,G,share,T,dk]
  at::Tensor out = at::empty({batch, queries, groups, share, v.size(3)}, q.options());

  for (int64_t start = 0; start < queries; start += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, queries - start), visible = past + start + rows;
    const at::Tensor block = (q_groups.narrow(3, start, rows) * scale).reshape({batch * groups, share * rows, q.size(3)});
    at::Tensor scores = at::bmm(block, k_rows.narrow(1, 0, visible).transpose(1, 2));
    if (rows > 1) {
      const at::Tensor mask =
          at::full({rows, rows}, -std::numeric_limits<float>::infinity(), scores.options()).triu_(1);
      scores.view({batch * groups, share, rows, visible}).narrow(3, visible - rows, rows).add_(mask);
    }
    const at::Tensor mixed = at::bmm(at::softmax(scores, -1), v_rows.narrow(1, 0, visible));
    out.narrow(1, start, rows).copy_(mixed.view({batch, groups, share, rows, v.size(3)}).permute({0, 3, 1, 2, 4}));
  }
  return out.flatten(2, 3);
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  if (q.dim() != 4 || k.dim() != 4 || v.dim() != 4 || q.size(3) != k.size(3) || k.size(2) != v.size(2) ||
      k.size(1) != v.size(1) || q.size(2) % k.size(2) != 0 || k.size(1) < q.size(1))
    fail<ShapeError>("causal_attention", "wanted q [B,T,H,dk], k [B,S,G,dk], v [B,S,G,dv] with S >= T and H % G = 0, got ",
                     q.sizes(), ", ", k.sizes(), ", ", v.sizes());
  const bool own_blocks = q.device().is_cpu() && q.scalar_type() == at::kFloat;
  return own_blocks ? blocked_attention(q, k, v, scale) : fused_attention(q, k, v, scale);
}

at::Tensor attention_forward(const AttentionWeights& weights, const at::Tensor& x, LayerCache* cache, MlaPath path) {
  return std::visit([&](const auto& form) { return project(heads_of(form, x, cache, path), form.o, form.o_bias); }, weights);
}

at::Tensor attention_heads(const AttentionWeights& weights, const at::Tensor& x) {
  return std::visit([&](const auto& form) { return heads_of(form, x, nullptr, MlaPath::expanded); }, weights);
}

int64_t cache_values_per_token(const AttentionWeights& weights) {
  LayerCache cache;
  const at::Tensor& o = std::visit([](const auto& form) -> const at::Tensor& { return form.o; }, weights);
  attention_forward(weights, at::zeros({1, 1, o.size(0)}, o.options()), &cache);
  return cache.values_per_token();
}

}  // namespace mla
