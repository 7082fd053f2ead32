// MHA2MLA's options against the weights that they name.
#include "tests/support/catch.h"

#include "core/base/error.h"
#include "methods/splitters/pair_ranks.h"
#include "methods/splitters/pair_selection.h"
#include "tests/methods/tiny_conversions.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

at::Tensor truncated(const at::Tensor& weight, int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(weight.to(at::kDouble), false);
  return (u.narrow(1, 0, rank) * s.narrow(0, 0, rank)).matmul(vh.narrow(0, 0, rank));
}

double frobenius_error(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

// kv_b kv_a of every group, rows [keys; values].  [G, n+v, D]
at::Tensor product(const MlaWeights& w) {
  return w.kv_b.to(at::kDouble).matmul(w.kv_a.to(at::kDouble)).view({w.groups, w.nope_dim + w.v_dim, -1});
}

const Json kHigh{{"rope_selection", "high"}, {"rope_dim", 4}};

Json with(Json options, const Json& more) {
  options.update(more);
  return options;
}

}  // namespace

TEST_CASE("mha2mla with every pair kept and full rank equals the original for every group size, with biases and without", "[methods][mha2mla][identity]") {
  const TinyShape shape = shape_with_group(GENERATE(1, 3, 8));
  const bool biased = GENERATE(false, true), per_query_head = GENERATE(false, true);
  const Decoder original = biased ? with_biases(tiny_decoder(shape)) : tiny_decoder(shape);
  const int64_t most = std::min<int64_t>(shape.width, shape.groups * 8) / shape.groups;
  const Json options{{"rope_selection", "2-norm"}, {"rope_dim", 8}, {"svd", "only_value"}, {"low_rank", most}, {"gqa2mha2mla", per_query_head}};
  const bool whole = most * shape.groups >= std::min<int64_t>(shape.width, shape.groups * 8);

  const Conversion conversion = convert_with(original, "mha2mla", options);

  REQUIRE(whole);
  CHECK(std::abs(kl_of(original, conversion.converted)) < kKlOfEquals);
}

TEST_CASE("mha2mla at full rank equals its partial-RoPE model in every mode", "[methods][mha2mla][identity]") {
  const bool per_query_head = GENERATE(false, true);
  const auto mode = GENERATE(as<std::string>{}, "none", "joint", "split", "only_key", "only_value");
  const Decoder original = with_biases(tiny_decoder());
  const int64_t keys = (per_query_head ? 4 : 2) * 4;
  const int64_t full = mode == "joint" ? 24 : mode == "only_value" ? 16 : mode == "split" ? std::min<int64_t>(keys, 16) : keys;
  Json options = with(kHigh, {{"svd", mode}, {"gqa2mha2mla", per_query_head}});
  if (mode != "none") options["low_rank"] = full / 2;
  if (mode == "split" && !per_query_head) return;  // its values have no full rank: keys admit 8, values need 16

  const Conversion conversion = convert_with(original, "mha2mla", options);

  CHECK(std::abs(kl_of(*conversion.partial_rope, conversion.converted)) < kKlOfEquals);
}

TEST_CASE("partial RoPE per query head is the model of mha2mla on repeated keys", "[methods][mha2mla][oracle]") {
  const Decoder original = tiny_decoder();
  Decoder repeated = original;
  repeated.config.num_kv_heads = 4;
  for (DecoderLayer& layer : repeated.layers) {
    auto& w = std::get<GqaWeights>(layer.attention);
    for (at::Tensor* rows : {&w.k, &w.v}) *rows = rows->view({2, 8, -1}).repeat_interleave(2, 0).flatten(0, 1).contiguous();
    w.kv_heads = 4;
  }
  const Json options{{"rope_selection", "2-norm"}, {"rope_dim", 4}, {"svd", "none"}};

  const Conversion expanded = convert_with(original, "mha2mla", with(options, {{"gqa2mha2mla", true}})), mha = convert_with(repeated, "mha2mla", options);
  const Conversion grouped = convert_with(original, "mha2mla", options);

  CHECK(std::abs(kl_of(expanded.converted, mha.converted)) < kKlOfEquals);
  CHECK(std::abs(kl_of(expanded.converted, grouped.converted)) > kKlOfEquals);
  CHECK(latent_of(expanded.converted).rope.rope_heads() == 4);
  CHECK(latent_of(expanded.converted).kv_a.size(0) == 4 * 4 + 16);  // values are not repeated in the cache
}

TEST_CASE("with keys of every query head each SVD mode is the truncated SVD of the weights it names", "[methods][mha2mla][oracle]") {
  const Decoder original = tiny_decoder();
  const auto& layer = std::get<GqaWeights>(original.layers[0].attention);
  const at::Tensor rows = at::tensor({2, 3, 6, 7}, at::kLong);  // high keeps pairs 0 and 1 of 4
  const at::Tensor keys = layer.k.view({2, 8, -1}).index_select(1, rows).repeat_interleave(2, 0).flatten(0, 1).to(at::kDouble);  // [4*4, D]
  const at::Tensor values = layer.v.to(at::kDouble);  // [2*8, D], as the released code stacks them
  const int64_t rank = 3 * 2;
  const auto mode = GENERATE(as<std::string>{}, "joint", "split", "only_key", "only_value");

  const Conversion conversion = convert_with(original, "mha2mla", with(kHigh, {{"svd", mode}, {"low_rank", 3}, {"gqa2mha2mla", true}}));

  const at::Tensor joint = truncated(at::cat({keys, values}), rank);
  const at::Tensor wanted_keys = mode == "joint" ? joint.narrow(0, 0, 16) : mode == "only_value" ? keys : truncated(keys, rank);
  const at::Tensor wanted_values = mode == "joint" ? joint.slice(0, 16) : mode == "only_key" ? values : truncated(values, rank);
  const at::Tensor found = product(latent_of(conversion.converted));
  CHECK(frobenius_error(found.narrow(1, 0, 4).flatten(0, 1), wanted_keys) < kFp32Reordering);
  CHECK(frobenius_error(found.narrow(1, 4, 8), wanted_values.view({2, 8, -1}).repeat_interleave(2, 0)) < kFp32Reordering);
}

TEST_CASE("biases stay out of mha2mla's SVD: the weights are cut as without them, and no bias is lost", "[methods][mha2mla][oracle]") {
  const Decoder plain = tiny_decoder(), biased = with_biases(plain);
  const Json options = with(kHigh, {{"svd", "joint"}, {"low_rank", 3}});

  const MlaWeights without = latent_of(convert_with(plain, "mha2mla", options).converted), with_them = latent_of(convert_with(biased, "mha2mla", options).converted);

  CHECK(frobenius_error(product(with_them), product(without)) < kFp32Reordering);
  CHECK(with_them.kv_a_bias.abs().max().item<double>() == 0);
  const auto& original = std::get<GqaWeights>(biased.layers[0].attention);
  const at::Tensor moved = original.o.matmul(original.v_bias.view({2, 8}).repeat_interleave(2, 0).flatten());
  CHECK(max_relative_error(with_them.o_bias, moved) < kFp32Reordering);
}

TEST_CASE("cache_values gives mha2mla the largest rank that fits", "[methods][mha2mla]") {
  const Decoder original = tiny_decoder();
  const auto values_of = [&](const char* mode, int64_t asked) {
    return convert_with(original, "mha2mla", with(kHigh, {{"svd", mode}, {"cache_values", asked}})).converted.cache_values_per_token_per_layer();
  };
  CHECK(values_of("joint", 15) == 8 + 2 * 3);      // rope keys of two heads, then 3 per head
  CHECK(values_of("split", 17) == 8 + 2 * 2 * 2);
  CHECK(values_of("only_key", 27) == 8 + 16 + 2);  // values stay whole
  CHECK(values_of("only_value", 23) == 8 + 8 + 6);
  CHECK(values_of("joint", 1000) == 8 + 24);       // all there is
}

TEST_CASE("mha2mla names the limit that an option breaks", "[methods][mha2mla][errors]") {
  const ModelConfig config = tiny_decoder().config;
  const auto refused = [&](const Json& more, const char* says) {
    CHECK_THROWS_WITH(find_recipe("mha2mla").make(with(kHigh, more), config), Contains(says));
  };
  refused({{"svd", "joint"}, {"low_rank", 13}}, "at most 12");
  refused({{"svd", "split"}, {"low_rank", 5}}, "at most 4");
  refused({{"svd", "joint"}, {"cache_values", 9}}, "at least 10");
  refused({{"svd", "only_key"}, {"cache_values", 25}}, "at least 26");
  refused({{"svd", "none"}, {"cache_values", 40}}, "svd none");
  refused({{"svd", "joint"}, {"cache_values", 20}, {"low_rank", 2}}, "either");
  refused({{"rope_dim", 10}}, "at most head_dim = 8");
  refused({{"rope_selection", "uniform"}, {"uniform_start", 2}}, "below their quotient 2");
}

TEST_CASE("2-norm ranks written and read again choose the same pairs, per group and per query head", "[methods][mha2mla][ranks]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const bool per_query_head = GENERATE(false, true);
  const Json options{{"rope_selection", "2-norm"}, {"rope_dim", 4}, {"svd", "none"}, {"gqa2mha2mla", per_query_head}};
  const Recipe recipe = find_recipe("mha2mla").make(options, original.config);
  const CalibrationStats measured = collect_stats(original, samples, {.pair_norms = true});

  const Json ranks = pair_ranks(measured, per_query_head);
  const std::vector<PairNorms> norms = pair_norms_of_ranks(Json::parse(ranks.dump()), original.config, per_query_head, "ranks.json");

  CHECK(ranks.size() == 2);
  CHECK(ranks[0].size() == (per_query_head ? 4 : 2));
  CHECK(ranks[0][0].size() == 8);  // both halves of four pairs
  CalibrationStats read(2);
  for (std::size_t layer = 0; layer < 2; ++layer) read[layer].pairs = norms[layer];
  CHECK(pair_ranks(read, per_query_head) == ranks);
  const Conversion a = convert(original, recipe, [&](const Decoder&, const StatKinds&, const std::string&) { return measured; });
  const Conversion b = convert(original, recipe, [&](const Decoder&, const StatKinds&, const std::string&) { return read; });
  for (std::size_t layer = 0; layer < 2; ++layer) CHECK(at::equal(latent_of(a.converted, layer).k_rope, latent_of(b.converted, layer).k_rope));
}

TEST_CASE("a file of ranks that does not fit the model is refused by name", "[methods][mha2mla][errors]") {
  const ModelConfig config = tiny_decoder().config;  // two layers, two KV heads, four pairs
  const auto refused = [&](const char* text, const char* says) {
    CHECK_THROWS_AS(pair_norms_of_ranks(Json::parse(text), config, false, "ranks.json"), CheckpointError);
    CHECK_THROWS_WITH(pair_norms_of_ranks(Json::parse(text), config, false, "ranks.json"), Contains("ranks.json") && Contains(says));
  };
  refused("{}", "a list of 2 layers");
  refused("[[[0,1,2,3],[0,1,2,3]]]", "2 layers, got 1");
  refused("[[[0,1,2,3]],[[0,1,2,3]]]", "2 KV heads");
  refused("[[[0,1,2],[0,1,2,3]],[[0,1,2,3],[0,1,2,3]]]", "4 or 8 ranks");
  refused("[[[0,1,2,2],[0,1,2,3]],[[0,1,2,3],[0,1,2,3]]]", "once");
  refused("[[[0,1,2,-1],[0,1,2,3]],[[0,1,2,3],[0,1,2,3]]]", "once");
  CHECK_NOTHROW(pair_norms_of_ranks(Json::parse("[[[0,1,2,3],[3,2,1,0]],[[0,1,2,3,0,1,2,3],[0,1,2,3]]]"), config, false, "ranks.json"));
}
