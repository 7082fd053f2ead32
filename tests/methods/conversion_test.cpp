#include "tests/support/catch.h"

#include "core/base/error.h"
#include "methods/convert.h"
#include "methods/factorizers/weight_svd.h"
#include "methods/splitters/pair_selection.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

const TinyShape kShape{};

CollectStats stats_from(const CalibrationSamples& samples) {
  return [&samples](const Decoder& model, const StatKinds& kinds, const std::string&) { return collect_stats(model, samples, kinds); };
}

Conversion convert_tiny(const Decoder& original, const char* method, const Json& options) {
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  return convert(original, find_recipe(method).make(options, original.config), stats_from(samples));
}

double kl_between(const Decoder& p, const Decoder& q) {
  const at::Tensor ids = tiny_ids(2, 40, p.config.vocab_size, 77);
  return mean_kl(p.logits(p.last_hidden(ids)), q.logits(q.last_hidden(ids)));
}

// kv_b kv_a of one group's slice, keys or values: what the conversion made of the weights.
at::Tensor rebuilt(const MlaWeights& w, int64_t from, int64_t height) {
  const at::Tensor product = w.kv_b.to(at::kDouble).matmul(w.kv_a.to(at::kDouble));
  return product.view({w.groups, w.nope_dim + w.v_dim, -1}).narrow(1, from, height).flatten(0, 1);
}

at::Tensor truncated(const at::Tensor& weight, int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(weight.to(at::kDouble), false);
  return (u.narrow(1, 0, rank) * s.narrow(0, 0, rank)).matmul(vh.narrow(0, 0, rank));
}

double frobenius_error(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

}  // namespace

TEST_CASE("TransMLA at full rank equals its partial-RoPE model", "[methods][identity]") {
  const Decoder original = tiny_decoder();
  const auto balance = GENERATE(Json(1.0), Json("none"));

  const Conversion conversion = convert_tiny(original, "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 24}, {"balance_kv_ratio", balance}});

  CHECK(std::abs(kl_between(*conversion.partial_rope, conversion.converted)) < kKlOfEquals);
}

TEST_CASE("RoRoPE that keeps every component of every frequency apart loses only what it no longer rotates", "[methods]") {
  const Decoder original = tiny_decoder({.groups = 1});

  const Conversion conversion = convert_tiny(original, "transmla", {{"freqfold", 1}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}});

  // One KV head, no folding: the rotation is the identity up to signs, and every component keeps RoPE.
  CHECK(std::abs(kl_between(original, *conversion.partial_rope)) < kKlOfEquals);
  CHECK(std::abs(kl_between(original, conversion.converted)) < kKlOfEquals);
}

TEST_CASE("mha2mla with every pair kept and full rank equals the original", "[methods][identity]") {
  const Decoder original = tiny_decoder();
  const auto mode = GENERATE("none", "joint", "only_value");
  Json options{{"rope_selection", "2-norm"}, {"rope_dim", 8}, {"svd", mode}};
  if (std::string(mode) != "none") options["low_rank"] = 8;

  const Conversion conversion = convert_tiny(original, "mha2mla", options);

  CHECK(std::abs(kl_between(original, conversion.converted)) < kKlOfEquals);
}

TEST_CASE("q_lora_rank at full rank changes nothing", "[methods][identity]") {
  const Decoder original = tiny_decoder();
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 20}};
  Json with_queries = options;
  with_queries["q_lora_rank"] = 24;  // the queries' own rank: the model's width

  const Conversion plain = convert_tiny(original, "transmla", options), low = convert_tiny(original, "transmla", with_queries);

  CHECK(std::abs(kl_between(plain.converted, low.converted)) < kKlOfEquals);
}

TEST_CASE("each SVD mode of mha2mla is the truncated SVD of the weights it names", "[methods][oracle]") {
  const Decoder original = tiny_decoder();
  const auto& layer = std::get<GqaWeights>(original.layers[0].attention);
  const int64_t rank = 3 * kShape.groups, half = kShape.head_dim / 2;
  // high, 4 of 8 dims: pairs 2 and 3 of each head become position-free, rows 2,3 and 6,7.
  const at::Tensor rows = at::tensor({2, 3, 6, 7}, at::kLong);
  const at::Tensor keys = layer.k.view({kShape.groups, kShape.head_dim, -1}).index_select(1, rows).flatten(0, 1).to(at::kDouble);
  const at::Tensor values = layer.v.to(at::kDouble);
  const auto weights_of = [&](const char* mode) {
    const Conversion c = convert_tiny(original, "mha2mla", {{"rope_selection", "high"}, {"rope_dim", 4}, {"svd", mode}, {"low_rank", 3}});
    return std::get<MlaWeights>(c.converted.layers[0].attention);
  };

  const MlaWeights joint = weights_of("joint"), split = weights_of("split"), only_key = weights_of("only_key"), only_value = weights_of("only_value");

  const at::Tensor both = truncated(at::cat({keys, values}), rank);
  CHECK(frobenius_error(at::cat({rebuilt(joint, 0, half), rebuilt(joint, half, 8)}), both) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(split, 0, half), truncated(keys, rank)) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(split, half, 8), truncated(values, rank)) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(only_key, 0, half), truncated(keys, rank)) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(only_key, half, 8), values) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(only_value, 0, half), keys) < kFp32Reordering);
  CHECK(frobenius_error(rebuilt(only_value, half, 8), truncated(values, rank)) < kFp32Reordering);
}

TEST_CASE("the balanced PCA loses exactly the energy of the directions it drops", "[methods][oracle]") {
  const Decoder original = tiny_decoder({.layers = 1});
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 24}, {"balance_kv_ratio", "none"}};
  const Recipe recipe = find_recipe("transmla").make(options, original.config);
  const CalibrationStats stats = collect_stats(original, samples, {.input_moments = true});
  const auto split = recipe.splitter->split(std::get<GqaWeights>(original.layers[0].attention), stats[0]);
  const Spectrum spectrum = recipe.factorizer->factorize(split, stats[0]);
  const int64_t rank = 10;

  const SpectrumPart& part = spectrum.parts[0];
  const at::Tensor basis = part.down.narrow(0, 0, rank);
  const at::Tensor joint = at::cat({split.k_free, split.v});
  const at::Tensor moment = project_moment(joint, stats[0].input.second);
  const double kept = basis.matmul(stats[0].input.second).matmul(basis.t()).diagonal().sum().item<double>();
  const double best = at::linalg_eigvalsh(moment).flip(0).narrow(0, 0, rank).sum().item<double>();

  CHECK(kept == Approx(best).epsilon(1e-9));
}

TEST_CASE("a pair's 2-norm rank counts queries of the whole group, strongest first", "[methods]") {
  PairNorms norms;
  norms.query = at::tensor({1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0}, at::kDouble).view({2, 4});  // two heads of one group
  norms.key = at::tensor({3.0, 1.0, 1.0, 2.0}, at::kDouble).view({1, 4});

  const at::Tensor rank = two_norm_rank(norms);  // scores 6, 2, 6, 4: the tie keeps its order

  CHECK(at::equal(rank, at::tensor({0, 3, 1, 2}, at::kLong).view({1, 4})));
}

TEST_CASE("a conversion with equal inputs gives equal bits", "[methods][determinism]") {
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}};
  const Conversion a = convert_tiny(tiny_decoder(), "transmla", options), b = convert_tiny(tiny_decoder(), "transmla", options);
  for (std::size_t i = 0; i < a.converted.layers.size(); ++i) {
    const auto &first = std::get<MlaWeights>(a.converted.layers[i].attention), &second = std::get<MlaWeights>(b.converted.layers[i].attention);
    CHECK(at::equal(first.kv_a, second.kv_a));
    CHECK(at::equal(first.kv_b, second.kv_b));
  }
}

TEST_CASE("a method refuses options that it does not know or cannot honour", "[methods][errors]") {
  const ModelConfig config = tiny_decoder().config;
  const auto make = [&](const char* method, const Json& options) { return find_recipe(method).make(options, config); };
  CHECK_THROWS_WITH(find_recipe("transmls"), Catch::Contains("did you mean 'transmla'"));
  CHECK_THROWS_WITH(make("mha2mla", {{"low_rnak", 3}}), Catch::Contains("did you mean 'low_rank'"));
  CHECK_THROWS_WITH(make("transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 25}}), Catch::Contains("at most 24"));
  CHECK_THROWS_AS(make("transmla", {{"freqfold", 3}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}), ConfigError);
  CHECK_THROWS_AS(make("transmla", {{"freqfold", 2}, {"qk_mqa_dim", 4}, {"collapse", 4}, {"kv_lora_rank", 8}}), ConfigError);
  CHECK_THROWS_AS(make("mha2mla", {{"rope_dim", 5}}), ConfigError);
  CHECK_THROWS_AS(make("mha2mla", {{"rope_dim", 4}, {"svd", "joint"}, {"low_rank", 40}}), ConfigError);
  CHECK_THROWS_AS(make("mha2mla", {{"svd", "jiont"}}), ConfigError);
}

TEST_CASE("a converted model is not converted again", "[methods][errors]") {
  const Conversion once = convert_tiny(tiny_decoder(), "mha2mla", {{"rope_dim", 4}, {"svd", "none"}, {"rope_selection", "high"}});
  CHECK_THROWS_WITH(convert_tiny(once.converted, "mha2mla", {{"rope_dim", 4}, {"svd", "none"}, {"rope_selection", "high"}}),
                    Catch::Contains("converted already"));
}
