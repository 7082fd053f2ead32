// What the method of ours adds: gradient statistics, the weighted PCA, and the two healers.
#include "tests/support/catch.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include "core/base/error.h"
#include "methods/convert.h"
#include "methods/factorizers/weighted_pca.h"
#include "methods/healers/distillation.h"
#include "methods/healers/mlp_refit.h"
#include "methods/healers/output_refit.h"
#include "methods/healers/ridge.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

double summed_loss(const Decoder& model, const at::Tensor& ids) {
  const at::Tensor log_p = at::log_softmax(model.logits(model.last_hidden(ids)).to(at::kDouble), -1).narrow(1, 0, ids.size(1) - 1);
  return -log_p.gather(-1, ids.narrow(1, 1, ids.size(1) - 1).unsqueeze(-1)).sum().item<double>();
}

// The streams at the entrance of layer 0, from a converted model that stands in for a cut one.
std::vector<HealingBatch> first_streams(const Decoder& original, const CalibrationSamples& samples) {
  std::vector<HealingBatch> batches;
  for (const CalibrationBatch& batch : samples.batches) {
    const at::Tensor embedded = original.embed(batch.ids);
    batches.push_back({embedded, embedded + attention_forward(original.layers[0].attention, original.attention_input(0, embedded)), batch.mask});
  }
  return batches;
}

Decoder cut_tiny(const Decoder& original, const CalibrationSamples& samples, int64_t rank) {
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", rank}};
  return convert(original, find_recipe("transmla").make(options, original.config),
                 [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); })
      .converted;
}

// sum_t w_t |attention(x_t) - wanted_t|^2 / sum_t w_t of layer 0.
double weighted_loss(const Decoder& converted, const std::vector<HealingBatch>& batches) {
  double loss = 0, total = 0;
  for (const HealingBatch& batch : batches) {
    const at::Tensor difference = attention_forward(converted.layers[0].attention, converted.attention_input(0, batch.residual)) - (batch.target - batch.residual);
    const at::Tensor weights = token_weights(batch);
    loss += (difference.square().sum(-1) * weights).sum().item<double>();
    total += weights.sum().item<double>();
  }
  return loss / total;
}

struct Bench {
  Decoder original = tiny_decoder();
  CalibrationSamples samples = tiny_samples(3, 4, 16, original.config.vocab_size);
  std::vector<HealingBatch> batches = first_streams(original, samples);
  Decoder converted = cut_tiny(original, samples, 8);
  void heal(const Healer& healer) {
    const LayerStats none;
    healer.heal({original, converted, 0, healer.part() == LayerPart::mlp ? behind_attention() : batches, none});
  }
  // The streams that a healer of layer 0's MLP sees.
  std::vector<HealingBatch> behind_attention() const {
    std::vector<HealingBatch> behind;
    for (const HealingBatch& b : batches)
      behind.push_back({b.residual + converted.attention_output(0, converted.attention_input(0, b.residual)), b.target + original.mlp(0, b.target), b.mask});
    return behind;
  }
};

}  // namespace

TEST_CASE("gradient moments equal numeric derivatives of the loss", "[methods][gradients]") {
  // Of a sample of two tokens only the first predicts, so its value's gradient is the derivative by a bias of all values.
  Decoder model = tiny_decoder({.layers = 2});
  CalibrationSamples samples;
  samples.batches.push_back({at::tensor({3, 17}, at::kLong).view({1, 2}), at::ones({1, 2}, at::kBool)});
  const std::vector<GradientMoments> moments = collect_gradients(model, samples);

  auto& layer = std::get<GqaWeights>(model.layers[0].attention);
  const int64_t width = layer.v.size(0);
  const double step = 1e-2;
  at::Tensor numeric = at::zeros({width}, at::kDouble);
  for (int64_t i = 0; i < width; ++i) {
    double loss[2];
    for (const int side : {0, 1}) {
      layer.v_bias = at::zeros({width});
      layer.v_bias[i] = side == 0 ? step : -step;
      loss[side] = summed_loss(model, samples.batches[0].ids);
    }
    numeric[i] = (loss[0] - loss[1]) / (2 * step);
  }

  CHECK(moments[0].tokens == 2);
  CHECK(max_relative_error(moments[0].value, numeric.outer(numeric) / 2) < 1e-2);  // fp32 differences of a loss near 4
  // One token attends to itself alone, so no gradient reaches its key.
  CHECK(moments[0].key.abs().max().item<double>() < 1e-9);
}

TEST_CASE("gradients are the same under inference mode, and padding adds nothing", "[methods][gradients]") {
  const Decoder model = tiny_decoder();
  const at::Tensor ids = tiny_ids(2, 9, model.config.vocab_size);
  CalibrationSamples plain, padded;
  plain.batches.push_back({ids, at::ones({2, 9}, at::kBool)});
  padded.batches.push_back({at::constant_pad_nd(ids, {0, 4}), at::constant_pad_nd(at::ones({2, 9}, at::kBool), {0, 4})});
  const std::vector<GradientMoments> wanted = collect_gradients(model, plain);

  const c10::InferenceMode no_autograd;
  const Decoder inference_model = tiny_decoder();
  for (const CalibrationSamples* samples : {&plain, &padded}) {
    const std::vector<GradientMoments> found = collect_gradients(inference_model, *samples);
    for (std::size_t layer = 0; layer < found.size(); ++layer) {
      CHECK(found[layer].tokens == 18);
      CHECK(max_relative_error(found[layer].key, wanted[layer].key) < kFp32Reordering);
      CHECK(max_relative_error(found[layer].residual, wanted[layer].residual) < kFp32Reordering);
      CHECK(max_relative_error(found[layer].key_fisher, wanted[layer].key_fisher) < kFp32Reordering);
    }
  }
}

TEST_CASE("the weighted PCA loses exactly the weighted energy of the directions it drops", "[methods][oracle]") {
  const Decoder original = tiny_decoder({.layers = 1});
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const CalibrationStats stats = collect_stats(original, samples, {.input_moments = true, .gradient_moments = true});
  const Recipe recipe = find_recipe("transmla").make({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 24}}, original.config);
  const SplitLayer split = recipe.splitter->split(std::get<GqaWeights>(original.layers[0].attention), stats[0]);
  const double damping = 0.01;
  const Spectrum spectrum = make_weighted_pca({.metric = PcaMetric::gradient, .damping = damping})->factorize(split, stats[0]);
  const int64_t rank = 10, groups = split.groups, n = split.nope_dim, v = split.v_dim;

  // z - z' of the cut, as a map of x; keys are read where each group's heads meet them, so p is recovered through k_up.
  const SpectrumPart& part = spectrum.parts[0];
  const at::Tensor up = part.up.view({groups, n + v, -1}).narrow(2, 0, rank), down = part.down.narrow(0, 0, rank);
  const at::Tensor keys = at::linalg_pinv(split.k_up).matmul(up.narrow(1, 0, n).flatten(0, 1)), values = up.narrow(1, n, v).flatten(0, 1);
  const at::Tensor lost = at::cat({split.k_free, split.v}) - at::cat({keys, values}).matmul(down);
  const auto damped = [&](const at::Tensor& m) { return m + at::eye(m.size(0), at::kDouble) * (damping * m.diagonal().mean()); };
  const at::Tensor metric = at::block_diag({damped(split.free_map.matmul(stats[0].gradients.key).matmul(split.free_map.t())), damped(stats[0].gradients.value)});
  const double measured = (metric * project_moment(lost, stats[0].input.second)).sum().item<double>();

  CHECK(measured == Approx(part.energies.slice(0, rank).sum().item<double>()).epsilon(1e-7));
}

TEST_CASE("the refit of W_O solves its normal equations and never fits worse", "[methods][healers][oracle]") {
  Bench bench;
  const double before = weighted_loss(bench.converted, bench.batches);

  bench.heal(*make_output_refit({.ridge = 1e-9}));

  CHECK(weighted_loss(bench.converted, bench.batches) < before);
  // At the least-squares solution the weighted error is orthogonal to every head value.
  const auto& layer = bench.converted.layers[0].attention;
  at::Tensor correlation = at::zeros({24, 32}, at::kDouble), scale = at::zeros({24, 32}, at::kDouble);
  for (const HealingBatch& batch : bench.batches) {
    const at::Tensor normed = bench.converted.attention_input(0, batch.residual), heads = attention_heads(layer, normed).flatten(0, 1).to(at::kDouble);
    const at::Tensor error = (attention_forward(layer, normed) - (batch.target - batch.residual)).flatten(0, 1).to(at::kDouble);
    const at::Tensor weighted = heads * token_weights(batch).flatten().unsqueeze(1);
    correlation += error.t().matmul(weighted);
    scale += error.abs().t().matmul(weighted.abs());
  }
  CHECK((correlation / scale).abs().max().item<double>() < 1e-3);  // fp32 weights and sums
}

TEST_CASE("the refit of an MLP solves its normal equations, and leaves a layer that lost nothing as it was", "[methods][healers][oracle]") {
  Bench bench;
  const at::Tensor before = bench.converted.layers[0].down;
  bench.heal(*make_mlp_refit({.ridge = 1e-9}));

  const DecoderLayer& layer = bench.converted.layers[0];
  CHECK_FALSE(at::equal(layer.down, before));
  CHECK(at::equal(bench.original.layers[0].down, before));  // which the original shares
  at::Tensor correlation = at::zeros(before.sizes(), at::kDouble), scale = at::zeros(before.sizes(), at::kDouble);
  for (const HealingBatch& batch : bench.behind_attention()) {
    const at::Tensor values = bench.converted.mlp_values(0, batch.residual);
    const at::Tensor error = (batch.residual + bench.converted.mlp(0, batch.residual) - batch.target).flatten(0, 1).to(at::kDouble);
    const at::Tensor weighted = values.flatten(0, 1).to(at::kDouble) * token_weights(batch).flatten().unsqueeze(1);
    correlation += error.t().matmul(weighted);
    scale += error.abs().t().matmul(weighted.abs());
  }
  CHECK((correlation / scale).abs().max().item<double>() < 1e-3);

  bench.converted = bench.original;
  bench.heal(*make_mlp_refit({.ridge = 0.1}));
  CHECK(max_relative_error(bench.converted.layers[0].down, before) < 1e-4);
}

TEST_CASE("a token that is massive in the converted stream alone counts by that stream", "[methods][healers]") {
  HealingBatch batch{at::ones({1, 4, 6}), 2 * at::ones({1, 4, 6}), at::ones({1, 4}, at::kBool)};
  batch.residual.select(1, 1).fill_(100);  // mean square 10000, where the original's is 4
  batch.target.select(1, 2).fill_(100);    // massive in the original
  batch.mask.select(1, 3).fill_(false);
  const at::Tensor weights = token_weights(batch);
  const double wanted[] = {0.25, 1e-4, 1e-4, 0};
  for (int64_t t = 0; t < 4; ++t) CHECK(weights[0][t].item<double>() == Approx(wanted[t]));

  at::Tensor added = at::zeros({4, 6});
  added[0].fill_(99);  // what the layer makes of the first token: a mean square of 10000 too
  CHECK(token_weights(batch, added)[0][0].item<double>() == Approx(1e-4));
}

TEST_CASE("one token that an MLP makes massive by mistake does not cost the others theirs", "[methods][healers]") {
  Bench bench;
  const auto width = bench.original.config.hidden_size, inner = bench.original.config.intermediate_size;
  const at::Tensor sink = at::eye(width)[2];  // the direction that neuron 0 fires on
  DecoderLayer& layer = bench.original.layers[0];
  layer.gate_up = layer.gate_up.clone();
  layer.gate_up[0] = 10 * sink;
  layer.gate_up[inner] = 10 * sink;
  layer.down = layer.down.clone();
  layer.down.select(1, 0).fill_(10);
  bench.converted = bench.original;
  HealingBatch batch{at::randn({1, 64, width}, at::detail::createCPUGenerator(5)), {}, at::ones({1, 64}, at::kBool)};
  batch.residual.narrow(1, 0, 9).copy_(5 * sink.expand({1, 9, width}));
  batch.target = batch.residual + bench.original.mlp(0, batch.residual);
  batch.target.select(1, 8).copy_(batch.residual.select(1, 20));  // the original's is an ordinary token
  const LayerStats none;

  make_mlp_refit({.ridge = 0.01})->heal({bench.original, bench.converted, 0, {batch}, none});

  const double kept = bench.converted.layers[0].down.select(1, 0).mean().item<double>() / 10;
  CHECK(kept > 0.8);
}

TEST_CASE("a refit of a layer that lost nothing leaves it as it was", "[methods][healers][identity]") {
  Bench bench;
  bench.converted = bench.original;
  const at::Tensor before = std::get<GqaWeights>(bench.converted.layers[0].attention).o.clone();

  bench.heal(*make_output_refit({.ridge = 0.1}));

  CHECK(max_relative_error(std::get<GqaWeights>(bench.converted.layers[0].attention).o, before) < 1e-4);
}

TEST_CASE("distillation brings the layer nearer to the original, the same way each time", "[methods][healers]") {
  Bench first, second;
  const double before = weighted_loss(first.converted, first.batches);
  const auto healer = make_distillation({.steps = 60, .rate = 0.02});

  first.heal(*healer);
  {
    const c10::InferenceMode no_autograd;  // as the program runs
    second.heal(*healer);
  }

  CHECK(weighted_loss(first.converted, first.batches) < 0.8 * before);
  const auto &a = std::get<MlaWeights>(first.converted.layers[0].attention), &b = std::get<MlaWeights>(second.converted.layers[0].attention);
  CHECK(at::equal(a.kv_b, b.kv_b));
  CHECK(at::equal(a.q, b.q));
  CHECK_FALSE(a.q.requires_grad());
  const auto& shared = std::get<GqaWeights>(first.original.layers[0].attention);
  CHECK(at::equal(a.o, shared.o));  // W_O is the refit's
}

TEST_CASE("stream_match heals a cut model nearer to its original, and says what it cost", "[methods][healers]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(4, 4, 16, original.config.vocab_size);
  const CollectStats collect = [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); };
  const auto kl_with = [&](int64_t steps, double ridge, double mlp_ridge = 0) {
    const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"steps", steps}, {"ridge", ridge}, {"mlp_ridge", mlp_ridge}};
    const Conversion conversion = convert(original, find_recipe("stream_match").make(options, original.config), collect, &samples);
    CHECK(conversion.healing.tokens == (steps > 0 || ridge > 0 ? samples.tokens() : 0));
    const at::Tensor ids = samples.batches[0].ids;
    return mean_kl(original.logits(original.last_hidden(ids)), conversion.converted.logits(conversion.converted.last_hidden(ids)));
  };

  const double cut = kl_with(0, 0), refitted = kl_with(0, 0.1), distilled = kl_with(40, 0.1);

  CHECK(refitted < cut);
  CHECK(distilled < refitted);
  CHECK(kl_with(0, 0.1, 0.1) < refitted);
}

TEST_CASE("healing from the stream that calibration kept gives the same weights as running the original again", "[methods][healers]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(3, 4, 16, original.config.vocab_size);
  ResidualTrace trace;
  const auto converted_with = [&](bool traced) {
    ConversionSource source([&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k, traced ? &trace : nullptr); });
    source.take_trace = [&] { return std::exchange(trace, {}); };
    const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"steps", 6}};
    return convert(original, find_recipe("stream_match").make(options, original.config), source, &samples).converted;
  };

  const Decoder again = converted_with(false), kept = converted_with(true);

  CHECK(trace.empty());  // it was taken
  for (std::size_t layer = 0; layer < again.layers.size(); ++layer) {
    const auto expected = named_tensors(again.layers[layer].attention), found = named_tensors(kept.layers[layer].attention);
    REQUIRE(expected.size() == found.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (expected[i].second.defined()) CHECK(at::equal(expected[i].second, found[i].second));
  }
}

TEST_CASE("healers without samples are refused", "[methods][healers][errors]") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(1, 2, 8, original.config.vocab_size);
  const Recipe recipe = find_recipe("stream_match").make({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}, original.config);
  CHECK_THROWS_WITH(convert(original, recipe, [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); }),
                    Catch::Contains("wanted calibration samples"));
}

TEST_CASE("stream_match splits a cache total: a third at most for the rope key", "[methods][stream_match]") {
  ModelConfig config = tiny_decoder().config;
  config.num_kv_heads = 3, config.num_heads = 9, config.head_dim = 64;
  const auto sizes = [&](int64_t total) {
    const Json options = find_recipe("stream_match").make({{"cache_values", total}}, config).options;
    return std::pair{options["qk_mqa_dim"].get<int64_t>(), options["kv_lora_rank"].get<int64_t>()};
  };
  CHECK(sizes(192) == std::pair<int64_t, int64_t>{64, 128});
  CHECK(sizes(128) == std::pair<int64_t, int64_t>{32, 96});
  CHECK(sizes(96) == std::pair<int64_t, int64_t>{32, 64});
  CHECK(sizes(5000) == std::pair<int64_t, int64_t>{64, 320});  // no more than there is
}

TEST_CASE("stream_match's presets set steps and samples, and impossible options name the limit", "[methods][stream_match][errors]") {
  const ModelConfig config = tiny_decoder().config;  // 2 KV heads of 8
  const auto make = [&](const Json& options) { return find_recipe("stream_match").make(options, config); };
  const Recipe fast = make({{"time_budget", "fast"}, {"kv_lora_rank", 8}}), best = make({{"time_budget", "best"}, {"kv_lora_rank", 8}});
  CHECK(fast.healers.size() == 1);
  CHECK(best.healers.size() == 3);
  CHECK(*fast.calibration_samples < *best.calibration_samples);
  CHECK(fast.self_samples < best.self_samples);
  CHECK_THROWS_WITH(make({{"kv_lora_rank", 25}}), Catch::Contains("[1, 24]"));
  CHECK_THROWS_WITH(make({{"kv_lora_rank", 8}, {"cache_values", 16}}), Catch::Contains("got both"));
  CHECK_THROWS_WITH(make({{"qk_mqa_dim", 3}, {"kv_lora_rank", 8}}), Catch::Contains("divisor of head_dim = 8"));
  CHECK_THROWS_WITH(make({{"kv_lora_rank", 8}, {"deepseek_compatible", true}, {"allocator", "waterfill"}}), Catch::Contains("one rank for all layers"));
  CHECK_NOTHROW(make({{"kv_lora_rank", 8}, {"deepseek_compatible", true}, {"allocator", "waterfill"}, {"pad_ranks", true}}));
  CHECK_THROWS_AS(make({{"kv_lora_rank", 8}, {"ridge", -1}}), ConfigError);
  CHECK_THROWS_AS(make({{"kv_lora_rank", 8}, {"mlp_ridge", -1}}), ConfigError);
}
