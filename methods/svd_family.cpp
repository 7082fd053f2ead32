#include "methods/svd_family.h"

#include "methods/recipe_options.h"
#include "methods/splitters/rebuilt_keys.h"

namespace mla {

Recipe make_svd_recipe(OptionReader& read, const ModelConfig& model, const SvdFamilyMember& member, Json options, const std::string& label) {
  const std::string form = read.choice("form", "rebuilt", {"rebuilt", "latent"});
  const int64_t width = model.num_kv_heads * model.head_dim;
  Recipe recipe;
  recipe.options = std::move(options);
  recipe.options["form"] = form;
  WeightedSvdOptions svd{.metric = member.metric, .shrinkage = member.shrinkage};
  if (form == "rebuilt") {
    const RankRequest request = read_rank(read, member.name, "rank");
    read.reject_unknown();
    const ChosenRank chosen = choose_rank(request, {.parts = 2, .full = width, .fallback = (width + 1) / 2});
    recipe.options["rank"] = chosen.rank;
    recipe.label = label + " r" + std::to_string(chosen.rank);
    recipe.splitter = make_rebuilt_keys();
    give_ranks(request, chosen, recipe);
    recipe.form = CacheForm::rebuilt;
    recipe.has_partial_rope_stage = false;
  } else {
    const RankRequest request = read_rank(read, member.name, "kv_lora_rank");
    SplitChoice split = read_split(read, member.name, model, request.budget);
    read.reject_unknown();
    const ChosenRank chosen = choose_rank(request, {.beside = split.rope_values, .full = split.free_keys + width, .fallback = 512});
    recipe.options.update(split.options);
    recipe.options["kv_lora_rank"] = chosen.rank;
    recipe.label = label + " latent " + split.label + " r" + std::to_string(chosen.rank);
    recipe.splitter = std::move(split.splitter);
    give_ranks(request, chosen, recipe);
    svd.parts = SvdParts::joint;
  }
  recipe.factorizer = make_weighted_svd(svd);
  return recipe;
}

std::vector<OptionHelp> with_svd_options(std::vector<OptionHelp> own) {
  const std::vector<OptionHelp> shared{
      {"form", "rebuilt", "rebuilt: keys and values each, keys rotated after they are rebuilt; latent: a split, then one joint latent"},
      {"rank", "half of the KV width", "rebuilt form: rank of keys and of values, each"},
      {"kv_lora_rank", "512", "rank of the latent"},
      {"split", "rorope", "latent form: rorope (one rope key), or 2-norm, high, low (rope keys per KV head)"},
      {"qk_mqa_dim", "64", "dims of the shared rope key"},
      {"freqfold", "2", "adjacent frequencies treated as equal; divides head_dim/2"},
      {"rope_dim", "16", "rotated dims per KV head"},
      {"cache_values", "none", kCacheValuesHelp}};
  own.insert(own.end(), shared.begin(), shared.end());
  return with_rank_options(std::move(own));
}

std::vector<const char*> svd_exports() { return {"mlaforge", "transformers", "vllm", "llama.cpp"}; }

}  // namespace mla
