#include "core/model/deepseek_form.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/base/error.h"
#include "core/checkpoint/own_format.h"

namespace mla {
namespace {

// The fp64 weights of one layer on the CPU on its way into the form.
class LayerForm {
 public:
  LayerForm(const DecoderLayer& layer, int64_t index, at::ScalarType dtype, const DeepseekShape& shape)
      : index_(index), shape_(shape), gain_(layer.attention_norm.to(at::kCPU, at::kDouble)), dtype_(dtype) {
    if (!std::holds_alternative<MlaWeights>(layer.attention)) cannot("its attention has no shared latent");
    w_ = std::get<MlaWeights>(to(layer.attention, at::kCPU, at::kDouble));
    if (w_.normed) cannot("its keys are normed before the latent (q/k norm)");
    if (w_.rope.rope_heads() != 1) cannot("it keeps a rope key per KV head, ", w_.rope.rope_heads(), " of them");
    if (w_.rope.dims() == 0) cannot("it has no rope key");
    if (w_.rope.by_length()) cannot("its rotary frequencies follow the sequence's length");
    if (w_.rope.inv_freq.eq(0).any().item<bool>()) cannot("its rope key has pairs that do not turn");
    if (w_.limits.window > 0) cannot("it has a sliding window of ", w_.limits.window, " tokens");
    if (w_.limits.softcap > 0) cannot("its scores are soft-capped at ", w_.limits.softcap);
    if (!shape.constant_channel)
      for (const at::Tensor* bias : {&w_.q_bias, &w_.q_a_bias, &w_.k_rope_bias, &w_.kv_a_bias, &w_.o_bias})
        if (has(*bias)) cannot("it has biases, which that loader drops without an error");
  }

  // Values that the latent needs, with the constant.
  int64_t needed() const { return w_.rank() + (shape_.constant_channel && !w_.kv_a_norm.defined() ? 1 : 0); }
  bool wants_query_latent() const { return shape_.query_latent || (shape_.constant_channel && (w_.q_a.defined() || has(w_.q_bias))); }

  // `latent` is its width in config.json, that of all layers.
  MlaWeights make(bool query_latent, int64_t latent) {
    sort_pairs();
    const int64_t rope = std::max(shape_.rope_width, w_.rope.dims());
    if (shape_.rope_width > 0 && w_.rope.dims() > shape_.rope_width) cannot("its rope key has ", w_.rope.dims(), " dims, more than ", shape_.rope_width);
    pad_rope(rope);
    fold_scale(rope);
    repeat_groups();
    if (query_latent) shape_.query_latent ? through_input_norm() : through_constant();
    else if (w_.q_a.defined()) merge_queries();
    form_latent(latent);
    if (shape_.constant_channel) fill_biases();
    w_.q_bias.reset();
    return w_;
  }

 private:
  template <class... Text>
  [[noreturn]] void cannot(const Text&... text) const {
    fail<ConfigError>("export", shape_.target, " cannot hold this model: layer ", index_, ": ", text..., "; --for mlaforge holds every model");
  }
  static bool has(const at::Tensor& bias) { return bias.defined() && bias.count_nonzero().item<int64_t>() > 0; }
  at::Tensor zeros(at::IntArrayRef sizes) const { return at::zeros(sizes, at::kDouble); }
  double rounded(double value) const { return at::scalar_tensor(value, at::kDouble).to(dtype_).item<double>(); }

  // One list of pairs for all layers: highest frequency first.
  void sort_pairs() {
    const at::Tensor order = w_.rope.inv_freq[0].argsort(/*stable=*/true, 0, /*descending=*/true);
    w_.rope.inv_freq = w_.rope.inv_freq.index_select(1, order);
    const at::Tensor rows = at::cat({order, order + order.size(0)});
    each_rope_block([&](const at::Tensor& block) { return block.index_select(1, rows); });
  }

  // Applies f to [heads, R, columns] of queries and [1, R, columns] of the rope key.
  template <class F>
  void each_rope_block(const F& f) {
    const auto heads = [&](at::Tensor& rows) {
      if (!rows.defined()) return;
      const at::Tensor by_head = rows.view({w_.heads, rows.size(0) / w_.heads, -1});
      const at::Tensor rope = f(by_head.narrow(1, w_.nope_dim, by_head.size(1) - w_.nope_dim));
      const at::Tensor out = at::cat({by_head.narrow(1, 0, w_.nope_dim), rope}, 1).flatten(0, 1);
      rows = rows.dim() == 1 ? out.flatten() : out;
    };
    heads(w_.q), heads(w_.q_b), heads(w_.q_bias);
    w_.k_rope = f(w_.k_rope.unsqueeze(0))[0];
    if (w_.k_rope_bias.defined()) w_.k_rope_bias = f(w_.k_rope_bias.view({1, -1, 1})).flatten();
  }

  // Further pairs of zeros, on the grid's next frequencies.
  void pad_rope(int64_t rope) {
    const int64_t pairs = w_.rope.dims() / 2, more = rope / 2 - pairs;
    const std::optional<double> theta = grid_theta(w_.rope.inv_freq[0]);
    if (!theta && !shape_.free_frequencies) cannot("its rotary frequencies are no grid theta^(-2i/d) from 1 on");
    if (w_.rope.attention_factor != 1.0 && !shape_.free_frequencies) cannot("its rope has an attention factor of ", w_.rope.attention_factor);
    if (more == 0) return;
    each_rope_block([&](const at::Tensor& block) {
      const at::Tensor empty = zeros({block.size(0), more, block.size(2)});
      return at::cat({block.narrow(1, 0, pairs), empty, block.narrow(1, pairs, pairs), empty}, 1);
    });
    if (!theta) cannot("its rotary frequencies are no grid that could be padded");
    w_.rope.inv_freq = at::pow(at::Scalar(*theta), -at::arange(rope / 2, at::kDouble) / static_cast<double>(pairs)).unsqueeze(0);
  }

  void fold_scale(int64_t rope) {
    const double standard = 1.0 / std::sqrt(static_cast<double>(w_.nope_dim + rope)), factor = w_.scale / standard;
    for (at::Tensor* rows : {&w_.q, &w_.q_b, &w_.q_bias})
      if (rows->defined()) *rows = *rows * factor;
    w_.scale = standard;
  }

  void repeat_groups() {
    const int64_t width = w_.nope_dim + w_.v_dim;
    w_.kv_b = w_.kv_b.view({w_.groups, width, -1}).repeat_interleave(w_.heads / w_.groups, 0).flatten(0, 1);
    w_.groups = w_.heads;
  }

  void merge_queries() {
    if (w_.q_a_norm.defined()) cannot("its query latent has a norm, and queries go in one step there");
    w_.q = w_.q_b.matmul(w_.q_a);
    w_.q_a.reset(), w_.q_b.reset();
  }

  void through_input_norm() {
    if (w_.q_a.defined() && w_.q_a_norm.defined()) return;
    if (w_.q_a.defined()) merge_queries();
    w_.q_a = at::diag(at::where(gain_ == 0, at::zeros_like(gain_), 1 / gain_));
    w_.q_a_norm = gain_;
    w_.q_b = w_.q;
    w_.q.reset();
  }

  // The largest norm that `rows` can give to the layer's normed input, whose own is sqrt(D) before the gain.
  double bound(const at::Tensor& rows, const at::Tensor& bias) const {
    const at::Tensor scaled = rows * gain_;
    const at::Tensor gram = scaled.size(0) <= scaled.size(1) ? scaled.matmul(scaled.t()) : scaled.t().matmul(scaled);
    const double largest = std::sqrt(std::max(0.0, at::linalg_eigvalsh(gram).max().item<double>()));
    return largest * std::sqrt(static_cast<double>(gain_.size(0))) + (bias.defined() ? bias.norm().item<double>() : 0.0);
  }

  struct Constant {
    double value, weight, correction;  // B; the norm's weight at the model's dtype; what the up-projection makes good for its rounding
  };
  // B a power of two so far above the vector that the second-order term is below the dtype's own rounding.
  Constant constant_for(double largest, int64_t width) const {
    const double above = dtype_ == at::kFloat || dtype_ == at::kDouble ? 8192 : dtype_ == at::kHalf ? 128 : 64;
    const double value = std::exp2(std::ceil(std::log2(std::max(largest, 1e-6) * above)));
    if (dtype_ == at::kHalf && value > 32768) cannot("fp16 cannot hold the constant beside its latent; take --dtype bf16 or fp32");
    const double exact = value / std::sqrt(static_cast<double>(width)), weight = rounded(exact);
    return {value, weight, exact / weight};
  }

  void through_constant() {
    if (w_.q_a_norm.defined()) {
      if (has(w_.q_bias)) cannot("its query latent has a norm, and its queries a bias");
      return;
    }
    const int64_t width = gain_.size(0);
    at::Tensor down = w_.q_a.defined() ? w_.q_a : at::eye(width, at::kDouble), up = w_.q_a.defined() ? w_.q_b : w_.q;
    const int64_t rank = down.size(0);
    at::Tensor bias = w_.q_a_bias.defined() ? w_.q_a_bias : zeros({rank});
    const double largest = w_.q_a.defined() ? bound(down, bias) : gain_.abs().max().item<double>() * std::sqrt(static_cast<double>(width));
    const Constant constant = constant_for(largest, rank + 1);
    const at::Tensor last = w_.q_bias.defined() ? w_.q_bias / constant.value : zeros({up.size(0)});
    w_.q_a = at::cat({down, zeros({1, width})});
    w_.q_a_bias = at::cat({bias, at::full({1}, constant.value, at::kDouble)});
    w_.q_a_norm = at::full({rank + 1}, constant.weight, at::kDouble);
    w_.q_b = at::cat({up, last.unsqueeze(1)}, 1) * constant.correction;
    w_.q.reset();
  }

  void form_latent(int64_t width) {
    const int64_t rank = w_.rank();
    if (!w_.kv_a_norm.defined() && !shape_.constant_channel) cannot("its latent has no norm");
    at::Tensor bias = w_.kv_a_bias.defined() ? w_.kv_a_bias : zeros({rank});
    at::Tensor weight = w_.kv_a_norm;
    double correction = 1.0;
    if (weight.defined()) {  // zeros beside the latent make its rms smaller
      weight = at::cat({weight * std::sqrt(static_cast<double>(rank) / static_cast<double>(width)), at::ones({width - rank}, at::kDouble)});
      bias = at::cat({bias, zeros({width - rank})});
    } else {
      const Constant constant = constant_for(bound(w_.kv_a, bias), width);
      weight = at::full({width}, constant.weight, at::kDouble);
      correction = constant.correction;
      bias = at::cat({bias, at::full({1}, constant.value, at::kDouble), zeros({width - rank - 1})});
    }
    w_.kv_a = at::cat({w_.kv_a, zeros({width - rank, w_.kv_a.size(1)})});
    w_.kv_b = at::cat({w_.kv_b * correction, zeros({w_.kv_b.size(0), width - rank})}, 1);
    w_.kv_a_bias = has(bias) ? bias : at::Tensor();
    w_.kv_a_norm = weight;
  }

  void fill_biases() {
    if (!w_.kv_a_bias.defined()) w_.kv_a_bias = zeros({w_.kv_a.size(0)});
    if (!w_.k_rope_bias.defined()) w_.k_rope_bias = zeros({w_.k_rope.size(0)});
    if (!w_.o_bias.defined()) w_.o_bias = zeros({w_.o.size(0)});
    if (w_.q_a.defined() && !w_.q_a_bias.defined()) w_.q_a_bias = zeros({w_.q_a.size(0)});
  }

  int64_t index_;
  const DeepseekShape& shape_;
  at::Tensor gain_;  // [D], of the norm before attention
  at::ScalarType dtype_;
  MlaWeights w_;
};

// The width of the widest latent, or the first that the target knows and that holds it.
int64_t latent_width(const DeepseekShape& shape, int64_t needed) {
  if (shape.latent_widths.empty()) return needed;
  const auto fits = std::find_if(shape.latent_widths.begin(), shape.latent_widths.end(), [&](int64_t width) { return width >= needed; });
  if (fits != shape.latent_widths.end()) return *fits;
  fail<ConfigError>("export", shape.target, " cannot hold this model: its latent needs ", needed, " values, more than ", shape.latent_widths.back(), "; --for mlaforge holds every model");
}

// What a config.json says once for all layers.
void require_alike(const DeepseekShape& shape, const MlaWeights& first, const MlaWeights& other, int64_t layer) {
  const auto differs = [&](const char* what) {
    fail<ConfigError>("export", shape.target, " cannot hold this model: ", what, " of layer ", layer, " differ from those of layer 0; --for mlaforge holds every model");
  };
  if (other.nope_dim != first.nope_dim || other.v_dim != first.v_dim || other.heads != first.heads) differs("the heads' widths");
  if (!other.rope.inv_freq.sizes().equals(first.rope.inv_freq.sizes()) || !at::allclose(other.rope.inv_freq, first.rope.inv_freq, 1e-12, 0) ||
      other.rope.attention_factor != first.rope.attention_factor)
    differs("the rotary frequencies");
  if (other.q_a.defined() != first.q_a.defined() || (other.q_a.defined() && other.q_a.size(0) != first.q_a.size(0))) differs("the query latents");
}

at::Tensor reorder(const at::Tensor& rows, int64_t heads, int64_t rope, bool interleave) {
  const at::Tensor by_head = rows.view({heads, rows.size(0) / heads, -1});
  const int64_t before = by_head.size(1) - rope;
  const std::vector<int64_t> pairs = interleave ? std::vector<int64_t>{2, rope / 2} : std::vector<int64_t>{rope / 2, 2};
  const at::Tensor turned = by_head.narrow(1, before, rope).unflatten(1, pairs).transpose(1, 2).flatten(1, 2);
  return at::cat({by_head.narrow(1, 0, before), turned}, 1).reshape(rows.sizes()).contiguous();
}

void require_known_parts(const ModelConfig& config, int64_t layers, const DeepseekShape& shape) {
  if (shape.most_layers > 0 && layers > shape.most_layers)
    fail<ConfigError>("export", shape.target, " cannot hold this model: wanted at most ", shape.most_layers, " layers, got ", layers);
  if (const Json beyond = computation_to_json(config); !beyond.empty())
    fail<ConfigError>("export", shape.target, " cannot hold this model: DeepSeek's classes have no ", beyond.begin().key(), " (", beyond.begin().value().dump(),
                      "); --for mlaforge holds every model");
}

}  // namespace

DeepseekShape deepseek_shape(const std::string& target, int64_t layers) {
  DeepseekShape shape;
  if (target == "transformers") {
    shape.most_layers = 61;  // its class ignores every tensor of layer 61
    return shape;
  }
  shape.constant_channel = shape.free_frequencies = false;
  if (target == "vllm") {
    shape.target = "vllm";
    shape.latent_widths = {256, 512};
    shape.rope_width = 64;
    shape.most_layers = 61;
    return shape;
  }
  if (target != "llama.cpp") fail<ConfigError>("export", "wanted a target of DeepSeek's form: transformers, vllm or llama.cpp, got ", target);
  shape.target = "llama.cpp";
  shape.query_latent = layers != 27;  // its reader takes 27 layers for DeepSeek-V2-Lite, which alone has none
  return shape;
}

LayerStream to_deepseek_form(const LayerStream& model, const DeepseekShape& shape, const std::optional<std::filesystem::path>& folder) {
  Decoder frame = model.frame();
  require_known_parts(frame.config, model.layers(), shape);
  frame.config.tie_word_embeddings = false;
  frame.config.mla = std::nullopt;
  const auto form_of = [&](int64_t layer) { return LayerForm(model.read(layer, LayerParts::attention), layer, frame.dtype(), shape); };
  bool query_latent = false;
  int64_t needed = 0;
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    const LayerForm form = form_of(layer);
    query_latent = query_latent || form.wants_query_latent();
    needed = std::max(needed, form.needed());
  }
  const int64_t width = latent_width(shape, needed);
  const auto formed = std::make_shared<AttentionStore>(folder);
  std::optional<MlaWeights> first;
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    const MlaWeights weights = form_of(layer).make(query_latent, width);
    if (!first) first = std::get<MlaWeights>(to(AttentionWeights(weights), at::kMeta, at::kDouble));
    require_alike(shape, *first, weights, layer);
    formed->add(to(AttentionWeights(weights), frame.device(), frame.dtype()));
  }
  if (std::string_view(shape.target) == "vllm" && first->v_dim > first->nope_dim + first->rope.dims())
    fail<ConfigError>("export", "vllm cannot hold this model: its values have ", first->v_dim, " dims per head, more than its keys, ", first->nope_dim + first->rope.dims());
  if (const std::optional<double> theta = grid_theta(first->rope.inv_freq[0])) frame.config.rope_theta = *theta;
  return with_attention(model, std::move(frame), formed);
}

Decoder to_deepseek_form(const Decoder& model, const DeepseekShape& shape) { return to_deepseek_form(LayerStream(model), shape, std::nullopt).load(); }

std::optional<double> grid_theta(const at::Tensor& inv_freq) {
  const at::Tensor list = inv_freq.contiguous();
  const double* f = list.const_data_ptr<double>();
  const int64_t size = list.numel();
  if (size == 0 || std::abs(f[0] - 1) > 1e-9) return std::nullopt;
  if (size == 1) return 10000.0;  // any will do
  const double root = std::pow(f[size - 1], 1.0 / static_cast<double>(size - 1));
  for (int64_t i = 1; i < size; ++i)
    if (std::abs(f[i] / std::pow(root, static_cast<double>(i)) - 1) > 1e-9) return std::nullopt;
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", std::pow(root, -static_cast<double>(size)));
  const double theta = std::strtod(text, nullptr);
  return theta > 1 ? std::optional(theta) : std::nullopt;
}

at::Tensor interleave_rope_rows(const at::Tensor& rows, int64_t heads, int64_t rope) { return reorder(rows, heads, rope, true); }
at::Tensor separate_rope_rows(const at::Tensor& rows, int64_t heads, int64_t rope) { return reorder(rows, heads, rope, false); }

}  // namespace mla
