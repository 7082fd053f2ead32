// Attention layers as our own folders describe them: sizes, positions and scores in config.json, tensors by their names there.
#include <set>

#include "core/base/error.h"
#include "core/model/layer_files.h"

namespace mla {
namespace {

// Row by row; null where it is undefined.
Json numbers_of(const at::Tensor& values) {
  if (!values.defined()) return nullptr;
  const at::Tensor flat = values.contiguous();
  const double* data = flat.const_data_ptr<double>();
  return std::vector<double>(data, data + flat.numel());
}

// What every form has: positions and scores.
template <class Form>
Json describe_scores(const Form& w) {
  const RopePlan& rope = w.rope;
  Json json{{"scale", w.scale}, {"inv_freq", numbers_of(rope.inv_freq)}, {"attention_factor", rope.attention_factor}};
  if (rope.by_length())
    json["rope_by_length"] = {{"short_length", rope.short_length}, {"long_inv_freq", numbers_of(rope.long_inv_freq)}, {"stretch", numbers_of(rope.stretch)},
                              {"stretch_factor", rope.stretch_factor}};
  if (w.limits.softcap > 0) json["softcap"] = w.limits.softcap;
  if (w.limits.window > 0) json["window"] = w.limits.window;
  return json;
}

Json describe_form(const MlaWeights& w) {
  return {{"form", "mla"}, {"kv_lora_rank", w.rank()}, {"q_lora_rank", w.q.defined() ? Json(nullptr) : Json(w.q_a.size(0))},
          {"qk_rope_head_dim", w.rope.dims()}, {"qk_nope_head_dim", w.nope_dim}, {"v_head_dim", w.v_dim}, {"groups", w.groups},
          {"rope_heads", w.rope.rope_heads()}, {"qk_norm_eps", w.normed ? Json(w.normed->norm.eps) : Json()}};
}
Json describe_form(const LowRankKvWeights& w) {
  return {{"form", "low_rank_kv"}, {"key_rank", w.k_a.size(0)}, {"value_rank", w.v_a.size(0)}, {"groups", w.kv_heads},
          {"head_dim", w.head_dim}, {"qk_norm_eps", w.norm ? Json(w.norm->eps) : Json()}};
}
Json describe_form(const GqaWeights& w) {
  return {{"form", "gqa"}, {"groups", w.kv_heads}, {"head_dim", w.head_dim}, {"qk_norm_eps", w.norm ? Json(w.norm->eps) : Json()}};
}

class Described {
 public:
  Described(const TensorSource& source, std::string prefix, const Json& layer, int64_t index)
      : source_(source), prefix_(std::move(prefix)), layer_(layer), index_(index) {
    for (const Json& name : layer.value("tensors", Json::array()))
      if (name.is_string()) names_.insert(name.get<std::string>());
  }

  AttentionWeights read() const {
    const Json form = layer_.value("form", Json("mla"));
    if (form == "mla") return read_mla();
    if (form == "low_rank_kv") return read_low_rank();
    if (form == "gqa") return read_gqa();
    fail<CheckpointError>("checkpoint", "wanted mla.layers[", index_, "].form to be mla, low_rank_kv or gqa in ", source_.where(), ", got ", form.dump());
  }

 private:
  // ---- fields: the file is untrusted ---------------------------------------------------------------------------------

  [[noreturn]] void does_not_fit() const {
    fail<CheckpointError>("checkpoint", "the mla.layers[", index_, "] object of ", source_.where(), " does not fit together; convert the model again");
  }
  int64_t size_field(const char* name) const {
    const auto found = layer_.find(name);
    if (found == layer_.end() || !found->is_number_unsigned() || found->get<uint64_t>() > 1u << 20)
      fail<CheckpointError>("checkpoint", "wanted mla.layers[].", name, " to be an integer in [0, 2^20] in ", source_.where(), ", got ",
                            found == layer_.end() ? "nothing" : found->dump());
    return found->get<int64_t>();
  }
  double number(const Json& object, const char* name, std::optional<double> fallback = std::nullopt) const {
    const Json value = object.value(name, fallback ? Json(*fallback) : Json());
    if (!value.is_number()) does_not_fit();
    return value.get<double>();
  }
  bool has_norm() const { return !layer_.value("qk_norm_eps", Json()).is_null(); }

  at::Tensor numbers(const Json& list, int64_t rows, int64_t columns) const {
    if (!list.is_array() || static_cast<int64_t>(list.size()) != rows * columns) does_not_fit();
    std::vector<double> values;
    for (const Json& value : list) {
      if (!value.is_number()) does_not_fit();
      values.push_back(value.get<double>());
    }
    return at::tensor(values, at::kDouble).view({rows, columns});
  }

  RopePlan read_rope(int64_t rope_heads, int64_t pairs) const {
    RopePlan plan{.inv_freq = numbers(layer_.value("inv_freq", Json::array()), rope_heads, pairs), .attention_factor = number(layer_, "attention_factor", 1.0)};
    const Json by_length = layer_.value("rope_by_length", Json());
    if (by_length.is_null()) return plan;
    if (!by_length.is_object()) does_not_fit();
    const Json length = by_length.value("short_length", Json());
    if (!length.is_number_unsigned() || length.get<uint64_t>() < 1 || length.get<uint64_t>() > 1u << 30) does_not_fit();
    plan.short_length = length.get<int64_t>();
    plan.stretch_factor = number(by_length, "stretch_factor", 1.0);
    const Json other = by_length.value("long_inv_freq", Json()), stretch = by_length.value("stretch", Json());
    if (other.is_null() == stretch.is_null()) does_not_fit();
    if (!other.is_null()) plan.long_inv_freq = numbers(other, rope_heads, pairs);
    if (!stretch.is_null()) plan.stretch = numbers(stretch, rope_heads, pairs);
    return plan;
  }

  ScoreLimits read_limits() const {
    const ScoreLimits limits{number(layer_, "softcap", 0.0), layer_.contains("window") ? size_field("window") : 0};
    if (!(limits.softcap >= 0 && limits.softcap < 1e6)) does_not_fit();
    return limits;
  }

  // ---- tensors, with their shapes checked against the fields ---------------------------------------------------------

  at::Tensor shaped(const char* name, const std::vector<int64_t>& shape) const {
    const at::Tensor t = source_.tensor(prefix_ + name);
    if (t.sizes() != at::IntArrayRef(shape))
      fail<CheckpointError>("checkpoint", "wanted ", prefix_, name, " ", at::IntArrayRef(shape), " in ", source_.where(), ", got ", t.sizes());
    return t;
  }
  at::Tensor matrix(const char* name, int64_t rows, int64_t columns) const { return shaped(name, {rows, columns}); }
  at::Tensor optional(const char* name, const std::vector<int64_t>& shape) const { return names_.count(name) > 0 ? shaped(name, shape) : at::Tensor(); }

  QkNorm read_norm(int64_t head_dim) const {
    const QkNorm norm{optional("q_norm.weight", {head_dim}), optional("k_norm.weight", {head_dim}), number(layer_, "qk_norm_eps")};
    if (!norm.query.defined() || !norm.key.defined())
      fail<CheckpointError>("checkpoint", "wanted q_norm.weight and k_norm.weight among the tensors of ", source_.where());
    return norm;
  }

  MlaWeights read_mla() const {
    const int64_t rank = size_field("kv_lora_rank"), rope_dim = size_field("qk_rope_head_dim"), rope_heads = size_field("rope_heads"),
                  width = source_.config().hidden_size;
    MlaWeights w;
    w.heads = source_.config().num_heads;
    w.groups = size_field("groups");
    w.nope_dim = size_field("qk_nope_head_dim");
    w.v_dim = size_field("v_head_dim");
    if (w.groups < 1 || w.heads % w.groups != 0 || rope_dim % 2 != 0) does_not_fit();
    w.rope = read_rope(rope_heads, rope_dim / 2);
    w.scale = number(layer_, "scale");
    w.limits = read_limits();
    int64_t query_width = width, key_width = width;
    if (has_norm()) {
      w.normed = read_normed();
      query_width = w.normed->query_width();
      key_width = w.normed->key_value_width();
    }
    const int64_t q_rows = w.heads * (w.nope_dim + rope_dim);
    if (layer_.value("q_lora_rank", Json()).is_null()) {
      w.q = matrix("q_proj.weight", q_rows, query_width);
    } else {
      const int64_t q_rank = size_field("q_lora_rank");
      w.q_a = matrix("q_a_proj.weight", q_rank, query_width);
      w.q_a_norm = optional("q_a_layernorm.weight", {q_rank});
      w.q_a_bias = optional("q_a_proj.bias", {q_rank});
      w.q_b = matrix("q_b_proj.weight", q_rows, q_rank);
    }
    w.k_rope = matrix("k_rope_proj.weight", rope_heads * rope_dim, key_width);
    w.kv_a = matrix("kv_a_proj.weight", rank, key_width);
    w.kv_a_norm = optional("kv_a_layernorm.weight", {rank});
    w.kv_b = matrix("kv_b_proj.weight", w.groups * (w.nope_dim + w.v_dim), rank);
    w.o = matrix("o_proj.weight", width, w.heads * w.v_dim);
    w.q_bias = optional("q_proj.bias", {q_rows});
    w.k_rope_bias = optional("k_rope_proj.bias", {rope_heads * rope_dim});
    w.kv_a_bias = optional("kv_a_proj.bias", {rank});
    w.o_bias = optional("o_proj.bias", {width});
    return w;
  }

  NormedProjections read_normed() const {
    const ModelConfig& c = source_.config();
    const int64_t h = c.head_dim, queries = c.num_heads * h, keys = c.num_kv_heads * h, width = c.hidden_size;
    NormedProjections n;
    n.head_dim = h;
    n.q = matrix("normed.q_proj.weight", queries, width);
    n.k = matrix("normed.k_proj.weight", keys, width);
    n.v = matrix("normed.v_proj.weight", keys, width);
    n.q_bias = optional("normed.q_proj.bias", {queries});
    n.k_bias = optional("normed.k_proj.bias", {keys});
    n.v_bias = optional("normed.v_proj.bias", {keys});
    n.norm = read_norm(h);
    return n;
  }

  // What the two forms with whole heads share: sizes, positions, scores and norm.
  template <class Form>
  Form read_heads() const {
    Form w;
    w.heads = source_.config().num_heads;
    w.kv_heads = size_field("groups");
    w.head_dim = size_field("head_dim");
    if (w.kv_heads < 1 || w.heads % w.kv_heads != 0 || w.head_dim % 2 != 0) does_not_fit();
    w.rope = read_rope(1, w.head_dim / 2);
    w.scale = number(layer_, "scale");
    w.limits = read_limits();
    const int64_t width = source_.config().hidden_size, queries = w.heads * w.head_dim;
    w.q = matrix("q_proj.weight", queries, width);
    w.q_bias = optional("q_proj.bias", {queries});
    w.o = matrix("o_proj.weight", width, queries);
    w.o_bias = optional("o_proj.bias", {width});
    if (has_norm()) w.norm = read_norm(w.head_dim);
    return w;
  }

  LowRankKvWeights read_low_rank() const {
    const int64_t width = source_.config().hidden_size, key_rank = size_field("key_rank"), value_rank = size_field("value_rank");
    auto w = read_heads<LowRankKvWeights>();
    w.k_a = matrix("k_a_proj.weight", key_rank, width);
    w.k_b = matrix("k_b_proj.weight", w.kv_heads * w.head_dim, key_rank);
    w.v_a = matrix("v_a_proj.weight", value_rank, width);
    w.v_b = matrix("v_b_proj.weight", w.kv_heads * w.head_dim, value_rank);
    w.k_a_bias = optional("k_a_proj.bias", {key_rank});
    w.v_a_bias = optional("v_a_proj.bias", {value_rank});
    return w;
  }

  GqaWeights read_gqa() const {
    auto w = read_heads<GqaWeights>();
    const int64_t width = source_.config().hidden_size, keys = w.kv_heads * w.head_dim;
    w.k = matrix("k_proj.weight", keys, width);
    w.v = matrix("v_proj.weight", keys, width);
    w.k_bias = optional("k_proj.bias", {keys});
    w.v_bias = optional("v_proj.bias", {keys});
    return w;
  }

  const TensorSource& source_;
  std::string prefix_;
  const Json& layer_;
  int64_t index_;
  std::set<std::string> names_;
};

}  // namespace

Json describe_attention(const AttentionWeights& weights) {
  Json json = std::visit([](const auto& form) {
    Json described = describe_form(form);
    described.update(describe_scores(form));
    return described;
  }, weights);
  for (const auto& [name, tensor] : named_tensors(weights)) json["tensors"].push_back(name);
  return json;
}

AttentionWeights read_described_attention(const TensorSource& source, const std::string& prefix, int64_t index) {
  const ModelConfig& config = source.config();
  const Json& layers = (*config.mla)["layers"];
  if (!layers.is_array() || static_cast<int64_t>(layers.size()) != config.num_layers)
    fail<CheckpointError>("checkpoint", "wanted mla.layers with ", config.num_layers, " entries in ", source.where());
  const Json& layer = layers[static_cast<std::size_t>(index)];
  if (!layer.is_object())
    fail<CheckpointError>("checkpoint", "wanted mla.layers[", index, "] to be an object in ", source.where(), ", got ", layer.dump());
  return Described(source, prefix, layer, index).read();
}

}  // namespace mla
