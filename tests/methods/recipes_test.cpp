// Every recipe of the SVD family on whole tiny models: identities, budgets, models with biases and q/k norm, errors.
#include "tests/support/catch.h"

#include <cmath>

#include "core/base/error.h"
#include "methods/convert.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

Conversion convert_tiny(const Decoder& original, const std::string& method, const Json& options) {
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const CollectStats collect = [&](const Decoder& model, const StatKinds& kinds, const std::string&) { return collect_stats(model, samples, kinds); };
  return convert(original, find_recipe(method).make(options, original.config), collect);
}

double kl_between(const Decoder& p, const Decoder& q) {
  const at::Tensor ids = tiny_ids(2, 40, p.config.vocab_size, 77);
  return std::abs(mean_kl(p.logits(p.last_hidden(ids)), q.logits(q.last_hidden(ids))));
}

// Token by token through the cache, which MLA reads by its absorbed path.
at::Tensor decoded_logits(const Decoder& model) {
  const at::Tensor ids = tiny_ids(1, 9, model.config.vocab_size, 78);
  KvCache cache;
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache));
  return model.logits(at::cat(hidden, 1));
}

enum class Extra { none, biases, norms };

Decoder tiny_with(const TinyShape& shape, Extra extra) {
  Decoder decoder = tiny_decoder(shape);
  uint64_t seed = 500;
  for (DecoderLayer& layer : decoder.layers) {
    auto& w = std::get<GqaWeights>(layer.attention);
    const auto vector = [&](int64_t size) { return 0.3 * tiny_inputs(1, 1, size, ++seed)[0][0]; };
    if (extra == Extra::biases) w.q_bias = vector(w.q.size(0)), w.k_bias = vector(w.k.size(0)), w.v_bias = vector(w.v.size(0)), w.o_bias = vector(w.o.size(0));
    if (extra == Extra::norms) w.norm = QkNorm{1 + vector(w.head_dim), 1 + vector(w.head_dim), 1e-6};
  }
  return decoder;
}

struct Case {
  std::string method;
  Json options;
};

// At these options nothing is dropped and every pair keeps its RoPE, on a model with h = 8, G KV heads and G * 8 <= D.
std::vector<Case> exact_cases(int64_t groups) {
  const int64_t width = groups * 8;
  return {{"svd", {{"rank", width}}},
          {"svd", {{"form", "latent"}, {"split", "high"}, {"rope_dim", 8}, {"kv_lora_rank", width}}},
          {"svd_llm", {{"rank", width}}},
          {"care", {{"rank", width}}},
          {"care", {{"rank", width}, {"metric", "C"}}},
          {"transmla_converter", Json::object()},
          {"mla_retrofit", Json::object()},
          {"mla_retrofit", {{"rope_mode", "repeat"}, {"num_kv_heads", 1}, {"head_dim", width}, {"whiten", false}}},
          {"mla_retrofit", {{"rope_mode", "extend"}}},
          {"mla_retrofit", {{"rope_mode", "extend"}, {"absorb", true}, {"whiten", false}}},
          {"palu", {{"group_size", 1}, {"group_rank", 8}}},
          {"palu", {{"group_size", groups}, {"group_rank", width}, {"hadamard", true}, {"whiten", false}}},
          {"kq_svd", {{"group_rank", 8}}},
          {"kq_svd", {{"group_size", groups}, {"group_rank", width}}},
          {"elitekv", {{"rope_dim", 8}, {"kv_dim", width}}}};
}

}  // namespace

TEST_CASE("at full rank with every pair rotated each recipe equals the original", "[recipes][identity]") {
  const auto extra = GENERATE(Extra::none, Extra::biases, Extra::norms);
  const auto groups = GENERATE(2, 1);
  const Decoder original = tiny_with({.layers = 1, .groups = groups}, extra);
  for (const Case& each : exact_cases(groups)) {
    INFO(each.method << ' ' << each.options << " groups " << groups << " extra " << static_cast<int>(extra));
    const Conversion conversion = convert_tiny(original, each.method, each.options);
    CHECK(kl_between(original, conversion.converted) < kKlOfEquals);
    CHECK(max_relative_error(decoded_logits(conversion.converted), decoded_logits(original)) < 1e-3);
  }
}

TEST_CASE("multi-head models and groups of three keep the identities", "[recipes][identity]") {
  const TinyShape shape = GENERATE(TinyShape{.layers = 1, .heads = 3, .groups = 3, .head_dim = 8, .width = 40},
                                   TinyShape{.layers = 1, .heads = 9, .groups = 3, .head_dim = 8, .width = 40},
                                   TinyShape{.layers = 1, .heads = 8, .groups = 1, .head_dim = 8, .width = 40});
  const Decoder original = tiny_decoder(shape);
  for (const Case& each : exact_cases(shape.groups)) {
    INFO(each.method << ' ' << each.options);
    CHECK(kl_between(original, convert_tiny(original, each.method, each.options).converted) < kKlOfEquals);
  }
}

TEST_CASE("at full rank a recipe that drops RoPE equals its partial-RoPE model", "[recipes][identity]") {
  const auto extra = GENERATE(Extra::none, Extra::biases, Extra::norms);
  const auto [groups, cases] = GENERATE(
      std::pair<int64_t, std::vector<Case>>{2, {{"svd", {{"form", "latent"}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 24}}},
                                                {"svd_llm", {{"form", "latent"}, {"qk_mqa_dim", 4}, {"kv_lora_rank", 28}}},
                                                {"care", {{"form", "latent"}, {"split", "2-norm"}, {"rope_dim", 4}, {"kv_lora_rank", 24}}},
                                                {"gla", {{"qk_mqa_dim", 8}, {"kv_lora_rank", 32}}},
                                                {"elitekv", {{"rope_dim", 4}, {"kv_dim", 24}}},
                                                {"elitekv", {{"rope_dim", 4}, {"kv_dim", 24}, {"whiten", true}}},
                                                {"x_ecomla", {{"qk_rope_head_dim", 4}, {"kv_lora_rank", 32}}},
                                                {"x_ecomla", {{"qk_rope_head_dim", 4}, {"kv_energy_ratio", 1.0}, {"q_lora_rank", 32}}}}},
      std::pair<int64_t, std::vector<Case>>{3, {{"gla", {{"qk_mqa_dim", 4}, {"kv_lora_rank", 64}, {"balance_kv_ratio", "none"}}}}});
  const Decoder original = tiny_with({.layers = 1, .heads = 2 * groups, .groups = groups, .width = 60}, extra);
  for (const Case& each : cases) {
    INFO(each.method << ' ' << each.options << " extra " << static_cast<int>(extra));
    Json options = each.options;
    if (options.contains("q_lora_rank")) options["q_lora_rank"] = 4 * 8;
    const Conversion conversion = convert_tiny(original, each.method, options);
    CHECK(kl_between(*conversion.partial_rope, conversion.converted) < kKlOfEquals);
  }
}

TEST_CASE("one KV head: GTA and X-EcoMLA with every dim rotated equal the original", "[recipes][identity]") {
  const Decoder original = tiny_decoder({.groups = 1});
  const auto align = GENERATE("regression", "procrustes");
  // RoRoPE of one head moves nothing, so the position-free keys are zero and the tied state is the values turned.
  CHECK(kl_between(original, convert_tiny(original, "gta", {{"qk_rope_head_dim", 8}, {"align", align}}).converted) < kKlOfEquals);
  const Json whole{{"qk_rope_head_dim", 8}, {"rope_pairs", "half"}, {"kv_lora_rank", 16}};
  CHECK(kl_between(original, convert_tiny(original, "x_ecomla", whole).converted) < kKlOfEquals);
}

TEST_CASE("mla_retrofit's extend is an approximation for any other heads and dims", "[recipes]") {
  const Decoder original = tiny_decoder();
  const double other_heads = kl_between(original, convert_tiny(original, "mla_retrofit", {{"rope_mode", "extend"}, {"num_kv_heads", 1}, {"head_dim", 16}}).converted);
  const double narrower = kl_between(original, convert_tiny(original, "mla_retrofit", {{"rope_mode", "extend"}, {"num_kv_heads", 2}, {"head_dim", 4}}).converted);
  CHECK(other_heads > 1e-4);
  CHECK(narrower > 1e-4);
}

TEST_CASE("absorbing W_UV and mixing by Hadamard change no output at a reduced rank", "[recipes]") {
  const Decoder original = tiny_decoder();
  const Json extend{{"rope_mode", "extend"}, {"num_kv_heads", 2}, {"head_dim", 4}}, groups{{"group_size", 2}, {"group_rank", 12}};
  Json absorbed = extend, mixed = groups;
  absorbed["absorb"] = true;
  mixed["hadamard"] = true;
  CHECK(kl_between(convert_tiny(original, "mla_retrofit", extend).converted, convert_tiny(original, "mla_retrofit", absorbed).converted) < kKlOfEquals);
  CHECK(kl_between(convert_tiny(original, "palu", groups).converted, convert_tiny(original, "palu", mixed).converted) < kKlOfEquals);
}

TEST_CASE("--cache-values is what a token costs at most, and more of it never harms the latent", "[recipes][budget]") {
  const Decoder original = tiny_decoder({.layers = 1});  // 32 values per token and layer
  const auto budget = GENERATE(20, 23, 31);
  for (const Case& each : std::vector<Case>{{"svd", {}}, {"svd", {{"form", "latent"}}}, {"svd_llm", {}}, {"care", {{"form", "latent"}, {"split", "high"}}},
                                            {"transmla_converter", {}}, {"mla_retrofit", {}}, {"mla_retrofit", {{"rope_mode", "extend"}}}, {"palu", {}},
                                            {"kq_svd", {}}, {"elitekv", {}}, {"gla", {}}, {"gta", {}}, {"x_ecomla", {}}}) {
    INFO(each.method << ' ' << each.options << ' ' << budget);
    Json options = each.options.is_null() ? Json::object() : each.options;
    options["cache_values"] = budget;
    const double used = convert_tiny(original, each.method, options).converted.cache_values_per_token_per_layer();
    CHECK(used <= budget);
    CHECK(used >= budget - (each.method == "mla_retrofit" || each.method == "gta" || each.method == "kq_svd" ? 8 : 3));
  }
}

TEST_CASE("a recipe with the same inputs gives the same bits", "[recipes][determinism]") {
  for (const Case& each : std::vector<Case>{{"elitekv", {{"rope_dim", 4}, {"kv_dim", 12}}}, {"kq_svd", {{"group_rank", 3}}}, {"gta", {{"qk_rope_head_dim", 4}}}}) {
    const Conversion a = convert_tiny(tiny_decoder(), each.method, each.options), b = convert_tiny(tiny_decoder(), each.method, each.options);
    const auto first = named_tensors(a.converted.layers[1].attention), second = named_tensors(b.converted.layers[1].attention);
    REQUIRE(first.size() == second.size());
    for (std::size_t i = 0; i < first.size(); ++i) CHECK(at::equal(first[i].second, second[i].second));
  }
}

TEST_CASE("recipes of the family refuse what cannot be, naming the limit", "[recipes][errors]") {
  const ModelConfig config = tiny_decoder().config;  // h 8, 2 KV heads
  const auto refused = [&](const char* method, const Json& options, const char* says) {
    INFO(method << ' ' << options);
    CHECK_THROWS_AS(find_recipe(method).make(options, config), ConfigError);
    CHECK_THROWS_WITH(find_recipe(method).make(options, config), Catch::Contains(says));
  };
  refused("svd", {{"rank", 17}}, "at most 16");
  refused("svd", {{"form", "latent"}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 25}}, "at most 24");
  refused("svd_llm", {{"rank", 4}, {"cache_values", 8}}, "got both");
  refused("care", {{"shrinkage", 2}}, "[0, 1]");
  refused("care", {{"metric", "chol"}}, "metric");
  refused("transmla_converter", {{"latent_dim", 20}}, "at most 16");
  refused("transmla_converter", {{"cache_values", 1}}, "at least 2");
  refused("mla_retrofit", {{"absorb", true}}, "rotation");
  refused("mla_retrofit", {{"num_kv_heads", 3}}, "at most 16");
  refused("mla_retrofit", {{"rope_mode", "extend"}, {"num_kv_heads", 1}, {"head_dim", 5}}, "even");
  refused("mla_retrofit", {{"num_kv_heads", 1}, {"cache_values", 8}}, "got both");
  refused("palu", {{"group_size", 3}}, "divide the 2 KV heads");
  refused("palu", {{"group_size", 1}, {"group_rank", 9}}, "at most 8");
  refused("kq_svd", {{"group_rank", 9}}, "at most 8");
  refused("elitekv", {{"rope_dim", 4}, {"kv_dim", 25}}, "at most 24");
  refused("elitekv", {{"rope_dim", 5}, {"kv_dim", 8}}, "even");
  refused("gla", {{"qk_mqa_dim", 8}, {"kv_lora_rank", 7}}, "even");
  refused("gla", {{"qk_mqa_dim", 8}}, "at most 32");
  refused("gta", {{"qk_rope_head_dim", 6}}, "divisor");
  refused("gta", {{"cache_values", 16}}, "at least 18");
  refused("x_ecomla", {{"kv_lora_rank", 8}, {"kv_energy_ratio", 0.9}}, "one of");
  refused("x_ecomla", {{"kv_lora_rank", 33}}, "at most 32");
  ModelConfig one = config;
  one.num_kv_heads = 1;
  CHECK_THROWS_WITH(find_recipe("gla").make({{"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}, one), Catch::Contains("at least 2 KV heads"));
}

TEST_CASE("the table of methods is sorted and says what can hold each result", "[recipes]") {
  std::string last;
  for (const RecipeEntry* entry : recipes()) {
    CHECK(last < entry->name);
    last = entry->name;
    CHECK_FALSE(entry->exports.empty());
    CHECK_FALSE(entry->stages.empty());
  }
}
