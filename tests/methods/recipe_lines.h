// The options under which every recipe's tests run on tiny models of h = 8, and what they do with them.
#pragma once
#include <ostream>

#include "core/base/error.h"
#include "tests/methods/tiny_conversions.h"

namespace mla {
extern const RecipeEntry mean_key;  // the tutorial's: tests/methods/tutorial_recipe.cpp
}

namespace mla::test {

struct Line {
  const char* method;
  const char* rank;  // the option that cuts; empty where nothing is cut
  Json options = Json::object();  // beside it, for the shapes below
  int64_t step = 1;    // ranks are multiples of it
  int64_t groups = 1;  // the fewest KV heads that it takes
  bool exact = true;   // false: its source gives no identity at any rank
};
inline const std::vector<Line> kLines{
    {"care", "rank"},
    {"care", "kv_lora_rank", {{"form", "latent"}, {"freqfold", 2}, {"qk_mqa_dim", 8}}},
    {"elitekv", "kv_dim", {{"rope_dim", 4}}},
    {"gla", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}}, 2, 2},
    {"gta", "", Json::object(), 1, 1, false},
    {"kq_svd", "group_rank"},
    {"mean_key", "kv_lora_rank"},
    {"mha2mla", "low_rank", {{"rope_selection", "2-norm"}, {"rope_dim", 4}, {"svd", "joint"}}},
    {"mha2mla", "low_rank", {{"rope_selection", "high"}, {"rope_dim", 4}, {"svd", "only_value"}}},
    {"mla_retrofit", ""},
    {"mla_retrofit", "", {{"rope_mode", "extend"}}},
    {"palu", "group_rank"},
    {"stream_match", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"steps", 0}, {"ridge", 0}}},
    {"svd", "rank"},
    {"svd", "kv_lora_rank", {{"form", "latent"}, {"freqfold", 2}, {"qk_mqa_dim", 8}}},
    {"svd_llm", "rank"},
    {"svd_llm", "kv_lora_rank", {{"form", "latent"}, {"freqfold", 2}, {"qk_mqa_dim", 8}}},
    {"svd_llm", "kv_lora_rank", {{"form", "latent"}, {"split", "2-norm"}, {"rope_dim", 4}}},
    {"transmla", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}}},
    {"transmla", "kv_lora_rank", {{"freqfold", 4}, {"qk_mqa_dim", 4}, {"balance_kv_ratio", "none"}}},
    {"transmla_converter", "latent_dim"},
    {"x_ecomla", "kv_lora_rank", {{"qk_rope_head_dim", 4}}},
};

inline const RecipeEntry& entry_of(const Line& line) { return std::string(line.method) == mean_key.name ? mean_key : find_recipe(line.method); }

inline std::ostream& operator<<(std::ostream& out, const Line& line) { return out << line.method << ' ' << line.options.dump(); }

inline Recipe make(const Line& line, const ModelConfig& config, int64_t rank, const Json& more = Json::object()) {
  Json options = line.options;
  if (*line.rank != '\0') options[line.rank] = rank;
  options.update(more);
  return entry_of(line).make(options, config);
}

// The largest rank that the recipe admits; 1 where it cuts nothing.
inline int64_t full_rank(const Line& line, const ModelConfig& config) {
  if (*line.rank == '\0') return 1;
  int64_t rank = 0;
  try {
    while (rank < 4096) make(line, config, rank + line.step), rank += line.step;
  } catch (const ConfigError&) {
  }
  return rank;
}

inline int64_t half_rank(const Line& line, const ModelConfig& config) {
  return std::max(line.step, full_rank(line, config) / 2 / line.step * line.step);
}

inline Conversion convert_with(const Decoder& original, const Recipe& recipe, const CalibrationSamples& samples) {
  return convert(original, recipe, stats_from(samples), &samples);
}

inline double kl(const Decoder& p, const Decoder& q, const at::Tensor& ids) {
  return std::abs(mean_kl(p.logits(p.last_hidden(ids)), q.logits(q.last_hidden(ids))));
}

// KL between what the recipe promises at full rank and what it gives, on `ids`.
inline double full_rank_kl(const Line& line, const Decoder& original, const CalibrationSamples& samples, const at::Tensor& ids) {
  const Conversion conversion = convert_with(original, make(line, original.config, full_rank(line, original.config)), samples);
  return kl(conversion.partial_rope ? *conversion.partial_rope : original, conversion.converted, ids);
}

}  // namespace mla::test
