#include "core/model/attention_weights.h"

namespace mla {
namespace {

// Calls visit(name, tensor) for each tensor of a form; the one place that lists them.
template <class Norm, class Visit>
void each_norm(Norm& norm, const Visit& visit) {
  visit("q_norm.weight", norm.query);
  visit("k_norm.weight", norm.key);
}

template <class Weights, class Visit>
void each_gqa(Weights& w, const Visit& visit) {
  visit("q_proj.weight", w.q), visit("k_proj.weight", w.k), visit("v_proj.weight", w.v), visit("o_proj.weight", w.o);
  visit("q_proj.bias", w.q_bias), visit("k_proj.bias", w.k_bias), visit("v_proj.bias", w.v_bias), visit("o_proj.bias", w.o_bias);
  if (w.norm) each_norm(*w.norm, visit);
}

template <class Weights, class Visit>
void each_mla(Weights& w, const Visit& visit) {
  visit("q_proj.weight", w.q), visit("q_a_proj.weight", w.q_a), visit("q_a_layernorm.weight", w.q_a_norm), visit("q_b_proj.weight", w.q_b);
  visit("k_rope_proj.weight", w.k_rope), visit("kv_a_proj.weight", w.kv_a), visit("kv_a_layernorm.weight", w.kv_a_norm);
  visit("kv_b_proj.weight", w.kv_b), visit("o_proj.weight", w.o);
  visit("q_proj.bias", w.q_bias), visit("q_a_proj.bias", w.q_a_bias), visit("k_rope_proj.bias", w.k_rope_bias);
  visit("kv_a_proj.bias", w.kv_a_bias), visit("o_proj.bias", w.o_bias);
  if (!w.normed) return;
  visit("normed.q_proj.weight", w.normed->q), visit("normed.k_proj.weight", w.normed->k), visit("normed.v_proj.weight", w.normed->v);
  visit("normed.q_proj.bias", w.normed->q_bias), visit("normed.k_proj.bias", w.normed->k_bias), visit("normed.v_proj.bias", w.normed->v_bias);
  each_norm(w.normed->norm, visit);
}

template <class Weights, class Visit>
void each_low_rank(Weights& w, const Visit& visit) {
  visit("q_proj.weight", w.q), visit("k_a_proj.weight", w.k_a), visit("k_b_proj.weight", w.k_b), visit("v_a_proj.weight", w.v_a);
  visit("v_b_proj.weight", w.v_b), visit("o_proj.weight", w.o);
  visit("q_proj.bias", w.q_bias), visit("k_a_proj.bias", w.k_a_bias), visit("v_a_proj.bias", w.v_a_bias), visit("o_proj.bias", w.o_bias);
  if (w.norm) each_norm(*w.norm, visit);
}

template <class Variant, class Visit>
void each_tensor(Variant& weights, const Visit& visit) {
  if (auto* gqa = std::get_if<GqaWeights>(&weights)) each_gqa(*gqa, visit);
  if (auto* latent = std::get_if<MlaWeights>(&weights)) each_mla(*latent, visit);
  if (auto* low = std::get_if<LowRankKvWeights>(&weights)) each_low_rank(*low, visit);
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> named_tensors(const AttentionWeights& weights) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  each_tensor(weights, [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors.emplace_back(name, tensor);
  });
  return tensors;
}

void each_attention_tensor(AttentionWeights& weights, const std::function<void(at::Tensor&)>& visit) {
  each_tensor(weights, [&](const char*, at::Tensor& tensor) { visit(tensor); });
}

AttentionWeights to(const AttentionWeights& weights, at::Device device, at::ScalarType dtype) {
  AttentionWeights moved = weights;
  each_attention_tensor(moved, [&](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(device, dtype);
  });
  return moved;
}

}  // namespace mla
