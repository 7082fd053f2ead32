#include "core/model/attention.h"

#include "core/base/error.h"
#include "core/model/cpu_kernels.h"
#include "core/model/latent_norm.h"
#include "core/model/mixed_values.h"

namespace mla {
namespace {

void require_width(const char* form, const at::Tensor& x, int64_t width) {
  if (x.dim() != 3 || x.size(2) != width) fail<ShapeError>(form, "wanted x [B,T,", width, "], got ", x.sizes());
}

// What a form makes of its tokens before they meet: queries, and the two streams that a cache keeps.
struct Streams {
  at::Tensor q;              // [B,T,H,dk], rotated
  at::Tensor first, second;  // [B,T,width]
};

// The tokens that queries see: the streams of all of them, where they stand, and who sees whom beside what causality hides.
struct Seen {
  at::Tensor first, second;  // [B,S,width]
  at::Tensor positions;      // [S] int64; undefined: 0 .. S-1
  at::Tensor mask;           // [T,S], added to the scores; undefined: nothing
  bool absorbed = false;     // of latent attention
};

// Angles at `positions` [T]; undefined: start .. start+count-1.
RopeTable table_at(const RopePlan& plan, const at::Tensor& positions, int64_t start, int64_t count, at::Device device) {
  if (!positions.defined()) return rope_table(plan, start, count, device);
  const int64_t last = positions.max().item<int64_t>();
  int64_t length = 64;  // tables are kept, so few lengths are asked for
  while (length <= last) length *= 2;
  if (plan.by_length()) length = last + 1;
  const RopeTable table = rope_table(plan, 0, length, device);
  const at::Tensor rows = positions.to(device);
  return {table.cos.index_select(0, rows), table.sin.index_select(0, rows)};
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
  return project(causal_attention(apply_rope(p.q, table), apply_rope(p.k, table), p.v, w.scale, w.limits).flatten(2), w.o, w.o_bias);
}

at::Tensor normed_projections(const NormedProjections& w, const at::Tensor& x) {
  const at::Tensor q = project(x, w.q, w.q_bias).unflatten(-1, {-1, w.head_dim}), k = project(x, w.k, w.k_bias).unflatten(-1, {-1, w.head_dim});
  return at::cat({rms_norm(q, w.norm.query, w.norm.eps).flatten(2), rms_norm(k, w.norm.key, w.norm.eps).flatten(2), project(x, w.v, w.v_bias)}, -1);
}

namespace {

// ---- grouped-query attention ----------------------------------------------------------------------------------------

Streams streams_of(const GqaWeights& w, const at::Tensor& x, const RopeTable& table) {
  require_width("gqa_attention", x, w.q.size(1));
  const GqaProjections p = gqa_projections(w, x);
  return {apply_rope(p.q, table), apply_rope(p.k, table).flatten(2), p.v.flatten(2)};
}

at::Tensor mix(const GqaWeights& w, const at::Tensor& q, const Seen& seen) {
  const at::Tensor k = seen.first.unflatten(-1, {w.kv_heads, w.head_dim}), v = seen.second.unflatten(-1, {w.kv_heads, w.head_dim});
  return mixed_values(q, k, v, {w.scale, w.limits, seen.mask}).flatten(2);
}

// ---- multi-head latent attention ------------------------------------------------------------------------------------

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

Streams streams_of(const MlaWeights& w, const at::Tensor& x, const RopeTable& table) {
  require_width("mla_attention", x, w.o.size(0));
  const int64_t rope_dim = w.rope.dims();
  const auto [query_input, key_input] = latent_inputs(w, x);
  Streams s;
  s.q = mla_queries(w, query_input).unflatten(-1, {w.heads, w.nope_dim + rope_dim});
  if (rope_dim > 0) s.q = at::cat({s.q.narrow(-1, 0, w.nope_dim), apply_rope(s.q.narrow(-1, w.nope_dim, rope_dim), table)}, -1);
  s.first = project(key_input, w.kv_a, w.kv_a_bias);
  if (w.kv_a_norm.defined()) s.first = rms_norm(s.first, w.kv_a_norm, kLatentNormEps);
  s.second = project(key_input, w.k_rope, w.k_rope_bias);
  if (rope_dim > 0) s.second = apply_rope(s.second.unflatten(-1, {w.rope.rope_heads(), rope_dim}), table).flatten(2);
  return s;
}

// Keys and values are rebuilt from the latent: cheap when many queries share them.
at::Tensor mla_expanded(const MlaWeights& w, const at::Tensor& q, const Seen& seen) {
  const at::Tensor up = project(seen.first, w.kv_b).unflatten(-1, {w.groups, w.nope_dim + w.v_dim});
  const at::Tensor k_rope = seen.second.unflatten(-1, {w.rope.rope_heads(), w.rope.dims()}).expand({-1, -1, w.groups, -1});
  return mixed_values(q, at::cat({up.narrow(-1, 0, w.nope_dim), k_rope}, -1), up.narrow(-1, w.nope_dim, w.v_dim), {w.scale, w.limits, seen.mask});
}

// The up-projections are applied to queries and outputs instead, so that the cache is read as it is.
at::Tensor mla_absorbed(const MlaWeights& w, const at::Tensor& q, const Seen& seen) {
  const int64_t share = w.heads / w.groups, rank = w.rank(), key_heads = w.rope.rope_heads();
  const at::Tensor up = w.kv_b.view({w.groups, w.nope_dim + w.v_dim, rank});
  const at::Tensor k_up = up.narrow(1, 0, w.nope_dim), v_up = up.narrow(1, w.nope_dim, w.v_dim);
  // [B,T,G,share,n] x [G,n,r] -> [B,T,H,r]
  const at::Tensor q_latent = at::einsum("btgsn,gnr->btgsr", {q.narrow(-1, 0, w.nope_dim).unflatten(2, {w.groups, share}), k_up}).flatten(2, 3);
  const at::Tensor latent = seen.first.unsqueeze(2).expand({-1, -1, key_heads, -1});
  const at::Tensor keys = at::cat({latent, seen.second.unflatten(-1, {key_heads, w.rope.dims()})}, -1);
  const at::Tensor mixed = mixed_values(at::cat({q_latent, q.narrow(-1, w.nope_dim, w.rope.dims())}, -1), keys, latent, {w.scale, w.limits, seen.mask});  // [B,T,H,r]
  return at::einsum("btgsr,gvr->btgsv", {mixed.unflatten(2, {w.groups, share}), v_up}).flatten(2, 3);
}

at::Tensor mix(const MlaWeights& w, const at::Tensor& q, const Seen& seen) {
  return (seen.absorbed ? mla_absorbed(w, q, seen) : mla_expanded(w, q, seen)).flatten(2);
}

// ---- low-rank keys and values ---------------------------------------------------------------------------------------

Streams streams_of(const LowRankKvWeights& w, const at::Tensor& x, const RopeTable& table) {
  require_width("low_rank_kv_attention", x, w.q.size(1));
  at::Tensor q = project(x, w.q, w.q_bias).unflatten(-1, {w.heads, w.head_dim});
  if (w.norm) q = rms_norm(q, w.norm->query, w.norm->eps);
  return {apply_rope(q, table), project(x, w.k_a, w.k_a_bias), project(x, w.v_a, w.v_a_bias)};
}

at::Tensor mix(const LowRankKvWeights& w, const at::Tensor& q, const Seen& seen) {
  at::Tensor keys = project(seen.first, w.k_b).unflatten(-1, {w.kv_heads, w.head_dim});
  if (w.norm) keys = rms_norm(keys, w.norm->key, w.norm->eps);
  keys = apply_rope(keys, table_at(w.rope, seen.positions, 0, keys.size(1), keys.device()));
  return mixed_values(q, keys, project(seen.second, w.v_b).unflatten(-1, {w.kv_heads, w.head_dim}), {w.scale, w.limits, seen.mask}).flatten(2);
}

// ---- whole sequences and packed ones --------------------------------------------------------------------------------

template <class Form>
at::Tensor heads_of(const Form& w, const at::Tensor& x, LayerCache* cache, MlaPath path) {
  const int64_t past = cache != nullptr ? cache->length() : 0, tokens = x.size(1);
  Streams s = streams_of(w, x, rope_table(w.rope, past, tokens, x.device()));
  if (cache != nullptr) {
    const LayerCache::Streams all = cache->extend(s.first, s.second);
    s.first = all.first;
    s.second = all.second;
  }
  const bool absorbed = path == MlaPath::absorbed || (path == MlaPath::automatic && cache != nullptr && tokens == 1);
  return mix(w, s.q, {s.first, s.second, {}, {}, absorbed});
}

// Angles of all segments' tokens. Where frequencies follow a sequence's length, each segment has its own.
RopeTable packed_table(const RopePlan& plan, const std::vector<Segment>& segments, at::Device device) {
  std::vector<at::Tensor> positions, cos, sin;
  for (const Segment& segment : segments) positions.push_back(segment.positions);
  if (!plan.by_length()) return table_at(plan, at::cat(positions), 0, 0, device);
  for (const at::Tensor& each : positions) {
    const RopeTable table = table_at(plan, each, 0, 0, device);
    cos.push_back(table.cos);
    sin.push_back(table.sin);
  }
  return {at::cat(cos), at::cat(sin)};
}

template <class Form>
at::Tensor packed_heads_of(const Form& w, const at::Tensor& x, const std::vector<Segment>& segments, std::size_t layer) {
  std::vector<at::Tensor> mixed;
  const Streams s = streams_of(w, x, packed_table(w.rope, segments, x.device()));
  int64_t start = 0;
  for (const Segment& segment : segments) {
    const int64_t tokens = segment.positions.numel();
    Seen seen{s.first.narrow(1, start, tokens), s.second.narrow(1, start, tokens), segment.positions, segment.mask, false};
    if (segment.cache != nullptr) {
      const LayerCache::Streams all = segment.cache->layers.at(layer).extend(seen.first, seen.second);
      seen = {all.first, all.second, {}, {}, tokens == 1};
    } else if (segment.prefix != nullptr) {
      const LayerCache::Streams prefix = segment.prefix->layers.at(layer).read();
      seen.first = at::cat({prefix.first, seen.first}, 1);
      seen.second = at::cat({prefix.second, seen.second}, 1);
      seen.positions = at::cat({at::arange(segment.prefix->length(), segment.positions.options()), segment.positions});
    }
    if (seen.mask.defined() && w.limits.window > 0) seen.mask = with_window(seen.mask, segment.positions, seen.positions, w.limits.window);
    mixed.push_back(mix(w, s.q.narrow(1, start, tokens), seen));
    start += tokens;
  }
  return at::cat(mixed, 1);
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, const ScoreLimits& limits) {
  if (q.dim() != 4 || k.dim() != 4 || v.dim() != 4 || q.size(3) != k.size(3) || k.size(2) != v.size(2) ||
      k.size(1) != v.size(1) || q.size(2) % k.size(2) != 0 || k.size(1) < q.size(1))
    fail<ShapeError>("causal_attention", "wanted q [B,T,H,dk], k [B,S,G,dk], v [B,S,G,dv] with S >= T and H % G = 0, got ",
                     q.sizes(), ", ", k.sizes(), ", ", v.sizes());
  return mixed_values(q, k, v, {scale, limits, {}});
}

at::Tensor packed_attention(const AttentionWeights& weights, const at::Tensor& x, const std::vector<Segment>& segments, int64_t layer) {
  int64_t tokens = 0;
  for (const Segment& segment : segments) tokens += segment.positions.numel();
  if (x.dim() != 3 || x.size(0) != 1 || x.size(1) != tokens || tokens == 0)
    fail<ShapeError>("packed_attention", "wanted x [1,", tokens, ",D] for ", segments.size(), " segments, got ", x.sizes());
  return std::visit([&](const auto& form) { return project(packed_heads_of(form, x, segments, static_cast<std::size_t>(layer)), form.o, form.o_bias); }, weights);
}

at::Tensor attention_forward(const AttentionWeights& weights, const at::Tensor& x, LayerCache* cache, MlaPath path) {
  return std::visit([&](const auto& form) { return project(heads_of(form, x, cache, path), form.o, form.o_bias); }, weights);
}

at::Tensor attention_heads(const AttentionWeights& weights, const at::Tensor& x) {
  return std::visit([&](const auto& form) { return heads_of(form, x, nullptr, MlaPath::expanded); }, weights);
}

LayerCache cache_of_one_token(const AttentionWeights& weights) {
  LayerCache cache;
  const at::Tensor& o = std::visit([](const auto& form) -> const at::Tensor& { return form.o; }, weights);
  attention_forward(weights, at::zeros({1, 1, o.size(0)}, o.options()), &cache);
  return cache;
}

int64_t cache_values_per_token(const AttentionWeights& weights) { return cache_of_one_token(weights).values_per_token(); }

}  // namespace mla
