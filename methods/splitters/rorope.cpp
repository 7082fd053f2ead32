#include "methods/splitters/rorope.h"

#include "core/base/error.h"
#include "core/tensor/decompositions.h"

namespace mla {
namespace {

class Rorope : public Splitter {
 public:
  explicit Rorope(const RoropeOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.input_moments = true, .attended_moments = options_.attended > 0}; }
  Json state() const override {
    Json state{{"splitter", "rorope"}, {"freqfold", options_.freqfold}, {"collapse", options_.collapse}, {"damping", options_.damping}};
    if (options_.attended > 0) state["attended"] = options_.attended;
    return state;
  }

  // Components of group i are ordered (collapse, KV head, frequency / collapse), as the original orders them.
  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    const int64_t fold = options_.freqfold, collapse = options_.collapse, half = layer.head_dim / 2, groups = half / fold;
    const int64_t kept = fold / collapse, components = layer.kv_heads * fold, width = layer.kv_heads * layer.head_dim;
    const at::Tensor second = project_moment(layer.k, attention_weighted_second(stats, options_.attended));  // [G*h, G*h]

    std::vector<at::Tensor> rows, grams, energies;
    for (int64_t i = 0; i < groups; ++i) {
      rows.push_back(component_rows(layer, i).to(second.device()));
      grams.push_back(gram_of(second, rows.back(), half));
    }
    const std::vector<Eigenpairs> found = descending_eigenpairs(grams);
    at::Tensor rotation = at::zeros({2, groups, components, width}, second.options());  // rows of T by half, group, component
    for (int64_t i = 0; i < groups; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const at::Tensor basis = found[index].vectors.t();  // rows: principal directions, descending
      rotation[0][i].index_copy_(1, rows[index], basis);
      rotation[1][i].index_copy_(1, rows[index] + half, basis);
      energies.push_back(found[index].values);
    }
    SplitLayer split;
    const at::Tensor all = at::cat(energies).cpu();
    split.energies.assign(all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel());
    const int64_t pairs = groups * kept;
    const at::Tensor rope_map = rotation.narrow(2, 0, kept).reshape({2 * pairs, width});  // pair p: rows p and p + pairs
    const at::Tensor free_map = rotation.narrow(2, kept, components - kept).reshape({2 * groups * (components - kept), width});
    const at::Tensor frequency = at::arange(0, half, collapse, at::kLong);
    fill(split, layer, rope_map, free_map);
    split.rope = layer.rope.pairs(frequency);
    return split;
  }

 private:
  // Rows of W_k that hold the real parts of group i's components.
  at::Tensor component_rows(const GqaWeights& layer, int64_t i) const {
    std::vector<int64_t> rows;
    for (int64_t c = 0; c < options_.collapse; ++c)
      for (int64_t g = 0; g < layer.kv_heads; ++g)
        for (int64_t f = 0; f < options_.freqfold / options_.collapse; ++f)
          rows.push_back(g * layer.head_dim + i * options_.freqfold + f * options_.collapse + c);
    return at::tensor(rows, at::kLong);
  }

  // Of the real parts' components at `real` and the imaginary ones `half` rows behind them, damped.
  at::Tensor gram_of(const at::Tensor& second, const at::Tensor& real, int64_t half) const {
    const at::Tensor imaginary = real + half;
    const at::Tensor gram = second.index_select(0, real).index_select(1, real) + second.index_select(0, imaginary).index_select(1, imaginary);
    return gram + at::eye(gram.size(0), gram.options()) * (options_.damping * gram.diagonal().mean());
  }

  static void fill(SplitLayer& split, const GqaWeights& layer, const at::Tensor& rope_map, const at::Tensor& free_map) {
    const int64_t h = layer.head_dim, share = layer.heads / layer.kv_heads;
    const at::Tensor q = layer.q.to(at::kDouble), k = layer.k.to(at::kDouble);
    split.k_rope = rope_map.matmul(k);
    split.k_free = free_map.matmul(k);
    std::vector<at::Tensor> q_rope, basis, k_up;
    for (int64_t head = 0; head < layer.heads; ++head) {
      const at::Tensor block = rope_map.narrow(1, head / share * h, h);  // [d_R, h]
      q_rope.push_back(block.matmul(q.narrow(0, head * h, h)));
      basis.push_back(at::cat({at::eye(h, k.options()), block}));
    }
    for (int64_t g = 0; g < layer.kv_heads; ++g) k_up.push_back(free_map.narrow(1, g * h, h).t());
    split.q_rope = at::cat(q_rope);
    split.q_nope = q;
    split.q_basis = at::stack(basis);
    split.q_source = q;
    split.k_up = at::cat(k_up);
    split.free_map = free_map;
    split.rope_map = rope_map;
    split.v = layer.v.to(at::kDouble);
    split.o = layer.o;
    split.heads = layer.heads;
    split.groups = layer.kv_heads;
    split.nope_dim = split.v_dim = h;
    split.scale = layer.scale;
  }

  RoropeOptions options_;
};

}  // namespace

std::unique_ptr<Splitter> make_rorope(const RoropeOptions& options, int64_t head_dim) {
  if (head_dim / 2 % options.freqfold != 0 || options.freqfold % options.collapse != 0)
    fail<ConfigError>("transmla", "wanted freqfold to divide head_dim/2 = ", head_dim / 2, " and to be a multiple of collapse = ",
                      options.collapse, ", got freqfold ", options.freqfold);
  return std::make_unique<Rorope>(options);
}

}  // namespace mla
