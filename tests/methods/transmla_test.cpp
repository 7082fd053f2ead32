// TransMLA's options, one by one, against what they promise.
#include "tests/support/catch.h"

#include <cmath>
#include <map>

#include "core/base/error.h"
#include "methods/factorizers/balanced_pca.h"
#include "tests/methods/tiny_conversions.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const Json kOptions{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}};

Json with(Json options, const Json& more) {
  options.update(more);
  return options;
}

// Runs a recipe's search on given perplexities; missing folds were not to be tried.
Json searched(const Json& options, const std::map<int64_t, double>& perplexities, const ModelConfig& config, std::vector<int64_t>* tried = nullptr) {
  const Recipe recipe = find_recipe("transmla").make(options, config);
  return recipe.search([&](const Json& candidate) {
    if (tried != nullptr) tried->push_back(candidate.at("freqfold"));
    return perplexities.at(candidate.at("freqfold").get<int64_t>());
  });
}

Recipe made(const Json& options, const ModelConfig& config) { return find_recipe("transmla").make(options, config); }

}  // namespace

TEST_CASE("TransMLA at full rank equals its partial-RoPE model for every group size, with biases and without", "[methods][transmla][identity]") {
  const int64_t group = GENERATE(1, 3, 8);
  const bool biased = GENERATE(false, true);
  const TinyShape shape = shape_with_group(group);
  const Decoder original = biased ? with_biases(tiny_decoder(shape)) : tiny_decoder(shape);
  const int64_t full = 2 * shape.groups * shape.head_dim - 8;

  const Conversion conversion = convert_with(original, "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", full}, {"q_lora_rank", shape.heads * 8}});

  CHECK(std::abs(kl_of(*conversion.partial_rope, conversion.converted)) < kKlOfEquals);
  CHECK(conversion.converted.cache_values_per_token_per_layer() == full + 8);
}

TEST_CASE("one KV head keeps all of RoPE: TransMLA at full rank equals a biased original", "[methods][transmla][identity]") {
  const Decoder original = with_biases(tiny_decoder({.heads = 8, .groups = 1}));
  CHECK(std::abs(kl_of(original, convert_with(original, "transmla", {{"freqfold", 1}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}).converted)) < kKlOfEquals);
}

TEST_CASE("a score scale other than head_dim^-1/2 is kept, and folded into q where asked", "[methods][transmla][identity]") {
  const Decoder original = with_biases(with_scale(tiny_decoder(), 0.21));
  const auto more = GENERATE(Json::object(), Json{{"q_lora_rank", 20}});

  const Conversion plain = convert_with(original, "transmla", with(kOptions, more));
  const Conversion folded = convert_with(original, "transmla", with(with(kOptions, more), {{"fold_scale", true}}));

  CHECK(latent_of(plain.converted).scale == 0.21);
  CHECK(latent_of(folded.converted).scale == Approx(1 / std::sqrt(8.0 + 8.0)));
  CHECK(std::abs(kl_of(plain.converted, folded.converted)) < kKlOfEquals);
}

TEST_CASE("a query bias stays whole behind a short query latent", "[methods][transmla]") {
  const Decoder original = with_biases(tiny_decoder());
  const Conversion whole = convert_with(original, "transmla", kOptions), low = convert_with(original, "transmla", with(kOptions, {{"q_lora_rank", 3}}));
  CHECK(at::equal(latent_of(whole.converted).q_bias, latent_of(low.converted).q_bias));
  CHECK_FALSE(latent_of(low.converted).q_a_bias.defined());
}

TEST_CASE("shared statistics spare the second pass and give the PCA of the original's moments", "[methods][transmla]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  std::vector<std::string> passes;
  const CollectStats collect = [&](const Decoder& model, const StatKinds& kinds, const std::string& state) {
    passes.push_back(state.substr(0, state.find(' ')));
    return collect_stats(model, samples, kinds);
  };

  const Conversion shared = convert(original, made(with(kOptions, {{"recalibrate", false}}), original.config), collect);
  const std::vector<std::string> of_shared = passes;
  const Conversion again = convert(original, made(kOptions, original.config), collect);

  CHECK(of_shared == std::vector<std::string>{"original"});
  CHECK(passes == std::vector<std::string>{"original", "original", "partial_rope"});
  CHECK(max_relative_error(latent_of(shared.converted, 0).kv_a, latent_of(again.converted, 0).kv_a) < kFp32Reordering);  // nothing before it differs
  CHECK(max_relative_error(latent_of(shared.converted, 1).kv_a, latent_of(again.converted, 1).kv_a) > kFp32Reordering);
}

TEST_CASE("the calibrated norm's weight is the mean rms of the latent, the shipped one's a mean inverse under unit norms", "[methods][transmla][oracle]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const Json options = with(kOptions, {{"q_lora_rank", 9}});
  const Conversion plain = convert_with(original, "transmla", options);
  const Conversion calibrated = convert_with(original, "transmla", with(options, {{"use_qkv_norm", "calibrated"}}));
  const Conversion shipped = convert_with(original, "transmla", with(options, {{"use_qkv_norm", "as_shipped"}}));

  // The first layer's latents are the same in every variant.
  std::vector<at::Tensor> inputs;
  for (const CalibrationBatch& batch : samples.batches) inputs.push_back(original.attention_input(0, original.embed(batch.ids)).to(at::kDouble));
  const at::Tensor x = at::cat(inputs).flatten(0, 1);
  const MlaWeights& w = latent_of(plain.converted);
  const auto rows = [&](const at::Tensor& weight) { return x.matmul(weight.to(at::kDouble).t()); };
  const auto rms = [](const at::Tensor& z) { return z.square().mean(1).sqrt(); };
  const auto inverse = [](const at::Tensor& z) { return (z.square().mean(1) + 1e-5).rsqrt(); };
  const auto weight_of = [](const at::Tensor& norm) { return norm.to(at::kDouble).mean().item<double>(); };
  const at::Tensor latent = rows(w.kv_a), query = rows(w.q_a), whole = at::cat({latent, rows(w.k_rope)}, 1);

  CHECK(weight_of(latent_of(calibrated.converted).kv_a_norm) == Approx(rms(latent).mean().item<double>()).epsilon(kFp32Reordering));
  CHECK(weight_of(latent_of(calibrated.converted).q_a_norm) == Approx(rms(query).mean().item<double>()).epsilon(kFp32Reordering));
  CHECK(weight_of(latent_of(shipped.converted).kv_a_norm) == Approx(inverse(whole).mean().item<double>()).epsilon(kFp32Reordering));
  CHECK(weight_of(latent_of(shipped.converted).q_a_norm) == Approx(inverse(query).mean().item<double>()).epsilon(kFp32Reordering));
  CHECK_FALSE(latent_of(plain.converted).kv_a_norm.defined());
  CHECK(kl_of(plain.converted, calibrated.converted) < kl_of(plain.converted, shipped.converted));
}

TEST_CASE("freqfold auto doubles from the collapse on while perplexity falls", "[methods][transmla][search]") {
  const ModelConfig config = tiny_decoder({.head_dim = 16}).config;
  const Json options{{"qk_mqa_dim", 16}, {"kv_lora_rank", 12}};
  std::vector<int64_t> tried;

  const Json chosen = searched(options, {{1, 30.0}, {2, 28.0}, {4, 29.0}}, config, &tried);

  CHECK(chosen == with(options, {{"freqfold", 2}}));
  CHECK(tried == std::vector<int64_t>{1, 2, 4});  // 8 is never tried
  CHECK(searched(options, {{1, 9.0}, {2, 8.0}, {4, 7.0}, {8, 6.0}}, config).at("freqfold") == 8);  // head_dim / 2 ends it
  CHECK(searched({{"qk_mqa_dim", 8}, {"kv_lora_rank", 12}, {"freqfold", "auto"}}, {{2, 9.0}, {4, 9.5}}, config).at("freqfold") == 2);
  CHECK(made(options, config).options.at("freqfold") == "auto");
  CHECK_FALSE(made(chosen, config).search);
}

TEST_CASE("options that still say auto are not converted", "[methods][transmla][errors]") {
  CHECK_THROWS_WITH(convert_with(tiny_decoder(), "transmla", {{"qk_mqa_dim", 8}, {"kv_lora_rank", 12}}), Contains("without auto"));
}

TEST_CASE("cache_values leaves TransMLA's latent what the rope key does not take", "[methods][transmla]") {
  const Decoder original = tiny_decoder();
  const int64_t asked = GENERATE(9, 20, 31, 500);
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"cache_values", asked}};
  CHECK(convert_with(original, "transmla", options).converted.cache_values_per_token_per_layer() == std::min<int64_t>(asked, 32));
}

TEST_CASE("TransMLA names the limit that an option breaks", "[methods][transmla][errors]") {
  const ModelConfig config = tiny_decoder().config;
  const auto refused = [&](const Json& options, const char* says) { CHECK_THROWS_WITH(made(options, config), Contains(says)); };
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 25}}, "at most 24");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}}, "at most 24");  // the source's default of 512
  refused({{"freqfold", 3}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}, "divide head_dim/2 = 4");
  refused({{"freqfold", 1}, {"qk_mqa_dim", 4}, {"kv_lora_rank", 8}}, "multiple of collapse = 2");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 4}, {"collapse", 4}, {"kv_lora_rank", 8}}, "head_dim = 8");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"q_lora_rank", 33}}, "at most 32");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"cache_values", 8}}, "at least 9");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"cache_values", 20}, {"kv_lora_rank", 8}}, "either");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"use_qkv_norm", "yes"}}, "as_shipped");
  refused({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"recalibrate", "no"}}, "true or false");
}

TEST_CASE("the stage that a search scores is the one that conversion makes", "[methods][transmla][search]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const Decoder stage = partial_rope_model(original, made(kOptions, original.config), stats_from(samples));
  const Conversion conversion = convert(original, made(kOptions, original.config), stats_from(samples));
  for (std::size_t layer = 0; layer < 2; ++layer) {
    CHECK(at::equal(latent_of(stage, layer).q, latent_of(*conversion.partial_rope, layer).q));
    CHECK(at::equal(latent_of(stage, layer).k_rope, latent_of(*conversion.partial_rope, layer).k_rope));
  }
}
