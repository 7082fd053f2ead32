// Multi-query keys by mean pooling (arXiv 2305.13245, section 2.1): one key for all heads, the mean of the KV heads' keys, rotated
// in full; values by SVD of their weights.
#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/weight_svd.h"
#include "methods/parts.h"

namespace mla {
namespace {

class MeanKey : public Splitter {
 public:
  StatKinds needs() const override { return {}; }  // the weights say it all
  Json state() const override { return {{"splitter", "mean_key"}}; }

  SplitLayer split(const GqaWeights& layer, const LayerStats&) const override {
    const int64_t h = layer.head_dim, width = layer.k.size(1);
    SplitLayer split;
    split.q_rope = layer.q;
    split.k_rope = layer.k.view({layer.kv_heads, h, width}).mean(0);
    split.rope = layer.rope;
    split.q_nope = split.k_free = layer.k.narrow(0, 0, 0);  // nothing is left without RoPE
    split.k_up = at::zeros({0, 0}, layer.k.options());
    split.v = layer.v;
    split.o = layer.o;
    split.heads = layer.heads;
    split.groups = layer.kv_heads;
    split.nope_dim = 0;
    split.v_dim = h;
    split.scale = layer.scale;
    return split;
  }
};

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "mean_key");
  const int64_t full = std::min(model.num_kv_heads * model.head_dim, model.hidden_size), rank = read.positive("kv_lora_rank", full);
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();
  if (rank > full) fail<ConfigError>("mean_key", "wanted --kv-lora-rank of at most ", full, " (the KV width), got ", rank);

  Recipe recipe;
  recipe.options = {{"kv_lora_rank", rank}};
  recipe.label = "mean_key r" + std::to_string(rank);
  recipe.splitter = std::make_unique<MeanKey>();
  recipe.factorizer = make_weight_svd(SvdMode::joint);
  apply_rank_options(ranks, rank, "--kv-lora-rank", recipe);
  return recipe;
}

}  // namespace

extern const RecipeEntry mean_key;
const RecipeEntry mean_key{"mean_key", "one mean-pooled key for all heads, SVD of the values", "arXiv 2305.13245",
                           with_rank_options({{"kv_lora_rank", "the KV width", "rank of the values"}}),
                           {"mean key", "SVD of the weights", "ranks"},
                           {"mlaforge", "transformers", "vllm", "llama.cpp"},
                           make};

}  // namespace mla
