#include "core/engine/attention_step.h"

#include "core/base/error.h"
#include "core/model/latent_norm.h"

namespace mla {
namespace {

// ---- grouped queries: keys are cached rotated ------------------------------------------------------------------------

class GqaStep : public AttentionStep {
 public:
  GqaStep(const GqaWeights& w, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers)
      : AttentionStep(PagedLayer(cache_shape(w, batch.size(), buffers.type()), machine, batch, buffers)), w_(w), machine_(machine) {
    const int64_t b = batch.size();
    q_ = buffers.get("q", {b, w.heads * w.head_dim});
    k_ = buffers.get("k", {b, w.kv_heads * w.head_dim});
    v_ = buffers.get("v", {b, w.kv_heads * w.head_dim});
    mixed_ = buffers.get("mixed", {b, w.heads, w.head_dim});
  }
  void run(const at::Tensor& x, const at::Tensor& out) override {
    project_into(q_, x, w_.q, w_.q_bias);
    project_into(k_, x, w_.k, w_.k_bias);
    project_into(v_, x, w_.v, w_.v_bias);
    const at::Tensor queries = q_.view({-1, w_.heads, w_.head_dim});
    if (w_.norm) {
      norm_rows(machine_, queries, w_.norm->query, w_.norm->eps);
      norm_rows(machine_, k_.view({-1, w_.head_dim}), w_.norm->key, w_.norm->eps);
    }
    cache_.append({v_, k_, queries});
    cache_.mix(queries, {}, mixed_);
    project_into(out, mixed_.flatten(1), w_.o, w_.o_bias);
  }

 private:
  const GqaWeights& w_;
  EngineMachine machine_;
  at::Tensor q_, k_, v_, mixed_;
};

// ---- multi-head latent attention, absorbed ---------------------------------------------------------------------------

// q and the rows of u = [norm(W_q x); norm(W_k x); W_v x] of a model whose heads are normed (attention_weights.h).
class NormedInputs {
 public:
  NormedInputs(const NormedProjections& w, const EngineMachine& machine, int64_t batch, StepBuffers& buffers) : w_(w), machine_(machine) {
    q_ = buffers.get("u_q", {batch, w.q.size(0)});
    k_ = buffers.get("u_k", {batch, w.k.size(0)});
    keys_values_ = buffers.get("u_kv", {batch, w.key_value_width()});
  }
  void run(const at::Tensor& x) const {
    project_into(q_, x, w_.q, w_.q_bias);
    project_into(k_, x, w_.k, w_.k_bias);
    norm_rows(machine_, q_.view({-1, w_.head_dim}), w_.norm.query, w_.norm.eps);
    norm_rows(machine_, k_.view({-1, w_.head_dim}), w_.norm.key, w_.norm.eps);
    keys_values_.narrow(1, 0, w_.k.size(0)).copy_(k_);
    project_into(keys_values_.narrow(1, w_.k.size(0), w_.v.size(0)), x, w_.v, w_.v_bias);
  }
  const at::Tensor& queries() const { return q_; }
  const at::Tensor& keys_values() const { return keys_values_; }

 private:
  const NormedProjections& w_;
  EngineMachine machine_;
  at::Tensor q_, k_, keys_values_;
};

class MlaStep : public AttentionStep {
 public:
  MlaStep(const MlaWeights& w, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers)
      : AttentionStep(PagedLayer(cache_shape(w, batch.size(), buffers.type()), machine, batch, buffers)), w_(w), machine_(machine) {
    const int64_t b = batch.size(), rope_dim = w.rope.dims();
    if (w.normed) inputs_.emplace(*w.normed, machine, b, buffers);
    const at::Tensor up = w.kv_b.view({w.groups, w.nope_dim + w.v_dim, w.rank()});
    key_up_ = GroupedProduct(up.narrow(1, 0, w.nope_dim), b, w.heads, buffers);                            // [G,n,r]
    value_up_ = GroupedProduct(up.narrow(1, w.nope_dim, w.v_dim).transpose(1, 2), b, w.heads, buffers);    // [G,r,v]
    q_ = buffers.get("q", {b, w.heads, w.nope_dim + rope_dim});
    if (w.q_a.defined()) q_low_ = buffers.get("q_low", {b, w.q_a.size(0)});
    latent_ = buffers.get("latent", {b, w.rank()});
    if (rope_dim > 0) {
      rope_key_ = buffers.get("rope_key", {b, w.k_rope.size(0)});
      const bool whole_chunks = w.nope_dim % 8 == 0 && rope_dim % 8 == 0;  // 16 bytes of 16-bit values, which tensor cores' kernels copy at a time
      q_rope_ = whole_chunks ? q_.narrow(2, w.nope_dim, rope_dim) : buffers.get("q_rope", {b, w.heads, rope_dim});
    }
    q_latent_ = buffers.get("q_latent", {b, w.heads, w.rank()});
    mixed_ = buffers.get("mixed", {b, w.heads, w.rank()});
    heads_ = buffers.get("heads", {b, w.heads, w.v_dim});
  }
  void run(const at::Tensor& x, const at::Tensor& out) override {
    if (inputs_) inputs_->run(x);
    const at::Tensor &query_input = inputs_ ? inputs_->queries() : x, &key_input = inputs_ ? inputs_->keys_values() : x;
    queries(query_input);
    project_into(latent_, key_input, w_.kv_a, w_.kv_a_bias);
    if (w_.kv_a_norm.defined()) norm_rows(machine_, latent_, w_.kv_a_norm, kLatentNormEps);
    if (rope_key_.defined()) project_into(rope_key_, key_input, w_.k_rope, w_.k_rope_bias);
    cache_.append({latent_, rope_key_, q_rope_});
    key_up_.apply(q_.narrow(2, 0, w_.nope_dim), q_latent_);
    cache_.mix(q_latent_, q_rope_, mixed_);
    value_up_.apply(mixed_, heads_);
    project_into(out, heads_.flatten(1), w_.o, w_.o_bias);
  }

 private:
  void queries(const at::Tensor& input) const {
    const at::Tensor all = q_.flatten(1);
    if (!q_low_.defined()) {
      project_into(all, input, w_.q, w_.q_bias);
    } else {
      project_into(q_low_, input, w_.q_a, w_.q_a_bias);
      if (w_.q_a_norm.defined()) norm_rows(machine_, q_low_, w_.q_a_norm, kLatentNormEps);
      project_into(all, q_low_, w_.q_b, w_.q_bias);
    }
    if (q_rope_.defined() && !q_rope_.is_alias_of(q_)) q_rope_.copy_(q_.narrow(2, w_.nope_dim, w_.rope.dims()));
  }

  const MlaWeights& w_;
  EngineMachine machine_;
  std::optional<NormedInputs> inputs_;
  GroupedProduct key_up_, value_up_;
  at::Tensor q_, q_low_, q_rope_, latent_, rope_key_, q_latent_, mixed_, heads_;
};

}  // namespace

std::unique_ptr<AttentionStep> make_attention_step(const AttentionWeights& weights, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers) {
  if (const auto* gqa = std::get_if<GqaWeights>(&weights)) return std::make_unique<GqaStep>(*gqa, machine, batch, buffers);
  if (const auto* latent = std::get_if<MlaWeights>(&weights)) return std::make_unique<MlaStep>(*latent, machine, batch, buffers);
  fail<ShapeError>("engine", "wanted grouped queries or latent attention, got keys that are rebuilt from a latent before they are rotated");
}

}  // namespace mla
