// svd, svd_llm and care are one recipe with different norms: keys and values each, rebuilt; or one joint latent behind a split.
#pragma once
#include "core/base/option_reader.h"
#include "methods/factorizers/weighted_svd.h"

namespace mla {

struct SvdFamilyMember {
  const char* name;
  SvdMetric metric;
  double shrinkage;
};
// Reads form, rank (rebuilt) or kv_lora_rank and the split (latent), cache_values; refuses what is left unread.
Recipe make_svd_recipe(OptionReader& read, const ModelConfig& model, const SvdFamilyMember& member, Json options, const std::string& label);

// The options that make_svd_recipe reads, after `own`.
std::vector<OptionHelp> with_svd_options(std::vector<OptionHelp> own);

// What can hold the latent form with one rope key for all heads; the others go to mlaforge alone.
std::vector<const char*> svd_exports();

}  // namespace mla
