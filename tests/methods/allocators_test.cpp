#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numeric>

#include "methods/allocators/fisher.h"
#include "methods/allocators/greedy.h"
#include "methods/allocators/rank_options.h"
#include "methods/convert.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr int64_t kGroups = 2, kWidth = 3;  // of keys and of values per group

// A part that rebuilds every key (or value) head from the given energies.
SpectrumPart part_of(const std::vector<double>& energies, bool keys) {
  const auto size = static_cast<int64_t>(energies.size());
  at::Tensor up = at::zeros({kGroups, 2 * kWidth, size}, at::kDouble);
  up.narrow(1, keys ? 0 : kWidth, kWidth).fill_(1.0);
  return {at::ones({size, 5}, at::kDouble), up.flatten(0, 1), at::tensor(energies, at::kDouble), true};
}

// Layers with one part each.
std::vector<Spectrum> layers_of(const std::vector<std::vector<double>>& energies) {
  std::vector<Spectrum> spectra;
  for (const auto& each : energies) spectra.push_back({{part_of(each, true)}, kGroups, kWidth});
  return spectra;
}

std::vector<Spectrum> random_layers(std::size_t layers, int64_t size, uint64_t seed) {
  std::vector<std::vector<double>> energies(layers);
  for (std::size_t i = 0; i < layers; ++i) {
    const at::Tensor random = at::rand({size}, at::detail::createCPUGenerator(seed + i), at::kDouble).pow(1 + static_cast<double>(i));
    const at::Tensor sorted = std::get<0>(random.sort(0, true)) * static_cast<double>(3 + i);
    energies[i].assign(sorted.const_data_ptr<double>(), sorted.const_data_ptr<double>() + size);
  }
  return layers_of(energies);
}

std::vector<int64_t> first_parts(const std::vector<LayerRanks>& ranks) {
  std::vector<int64_t> first;
  for (const LayerRanks& layer : ranks) first.push_back(layer.front());
  return first;
}

int64_t sum_of(const std::vector<int64_t>& values) { return std::accumulate(values.begin(), values.end(), int64_t{0}); }

std::vector<int64_t> greedy(RankRule rule, const std::vector<Spectrum>& spectra, int64_t rank, const RankBounds& bounds = {}, std::optional<double> ratio = {}) {
  return first_parts(make_greedy({rule, rank, "--rank", bounds, ratio})->allocate(spectra, CalibrationStats(spectra.size())));
}

double dropped(const std::vector<Spectrum>& spectra, const std::vector<int64_t>& ranks) {
  double sum = 0;
  for (std::size_t i = 0; i < spectra.size(); ++i) sum += spectra[i].parts[0].energies.slice(0, ranks[i]).sum().item<double>();
  return sum;
}

// The least dropped energy of all ranks within the bounds whose sum is at most `budget`, by trying every one.
double best_by_force(const std::vector<Spectrum>& spectra, int64_t budget, const RankBounds& bounds) {
  std::vector<int64_t> ranks(spectra.size(), 0);
  const int64_t size = spectra[0].parts[0].down.size(0);
  double best = INFINITY;
  for (;;) {
    const bool fits = std::all_of(ranks.begin(), ranks.end(), [&](int64_t r) { return r >= bounds.min && r <= bounds.max.value_or(size) && r % bounds.multiple == 0; });
    if (fits && sum_of(ranks) <= budget) best = std::min(best, dropped(spectra, ranks));
    std::size_t i = 0;
    while (i < ranks.size() && ++ranks[i] > size) ranks[i++] = 0;
    if (i == ranks.size()) return best;
  }
}

Recipe tiny_recipe(const char* method, const Json& more) {
  Json options = std::string(method) == "transmla" ? Json{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 10}}
                                                   : Json{{"rope_selection", "high"}, {"rope_dim", 4}, {"svd", "split"}, {"low_rank", 3}};
  if (!more.is_null()) options.update(more);
  return find_recipe(method).make(options, tiny_decoder().config);
}

}  // namespace

TEST_CASE("the water-fill drops the least energy that its budget admits", "[methods][allocators][oracle]") {
  const std::vector<Spectrum> spectra = random_layers(3, 7, 5);
  const RankBounds bounds = GENERATE(RankBounds{}, RankBounds{.min = 2}, RankBounds{.max = 4}, RankBounds{.multiple = 2, .min = 2}, RankBounds{.multiple = 3, .min = 3, .max = 6});
  const int64_t rank = GENERATE(3, 4);

  const std::vector<int64_t> ranks = greedy(RankRule::waterfill, spectra, rank, bounds);

  CHECK(sum_of(ranks) <= 3 * rank);
  CHECK(dropped(spectra, ranks) == Approx(best_by_force(spectra, 3 * rank, bounds)).epsilon(1e-12));
}

TEST_CASE("every rule spends its budget to the last rank", "[methods][allocators]") {
  const std::vector<Spectrum> spectra = random_layers(5, 12, 9);
  const RankRule rule = GENERATE(RankRule::waterfill, RankRule::energy, RankRule::care, RankRule::care_code);
  for (const int64_t rank : {1, 4, 7, 12}) CHECK(sum_of(greedy(rule, spectra, rank)) == 5 * rank);
}

TEST_CASE("ranks only grow with the budget", "[methods][allocators]") {
  const std::vector<Spectrum> spectra = random_layers(4, 10, 21);
  const RankRule rule = GENERATE(RankRule::waterfill, RankRule::energy, RankRule::care);
  std::vector<int64_t> last = greedy(rule, spectra, 1);
  for (int64_t rank = 2; rank <= 10; ++rank) {
    const std::vector<int64_t> ranks = greedy(rule, spectra, rank);
    for (std::size_t i = 0; i < ranks.size(); ++i) CHECK(ranks[i] >= last[i]);
    last = ranks;
  }
}

TEST_CASE("energy ranks are the smallest ones that keep a common share", "[methods][allocators][oracle]") {
  const std::vector<Spectrum> spectra = random_layers(4, 10, 33);
  const auto ranks_at = [&](double ratio) {
    std::vector<int64_t> ranks;
    for (const Spectrum& spectrum : spectra) {
      const at::Tensor kept = spectrum.parts[0].energies.cumsum(0) / spectrum.parts[0].energies.sum();
      ranks.push_back(std::max<int64_t>(1, (kept < ratio).sum().item<int64_t>() + 1));
    }
    return ranks;
  };
  double low = 0, high = 1;  // the largest share whose ranks stay within the budget
  for (int i = 0; i < 60; ++i) (sum_of(ranks_at((low + high) / 2)) > 4 * 5 ? high : low) = (low + high) / 2;

  const std::vector<int64_t> ranks = greedy(RankRule::energy, spectra, 5);
  CHECK(sum_of(ranks_at(low)) == 20);  // no two layers jump at once here
  CHECK(ranks == ranks_at(low));
  CHECK(greedy(RankRule::energy, spectra, 10, {}, 0.6) == ranks_at(0.6));
}

TEST_CASE("CARE's rule grows the layer whose next direction is most of what it still drops", "[methods][allocators]") {
  // After one rank each: layer 0 would keep 4 of the 5 that it drops, layer 1 40 of 75.
  const std::vector<Spectrum> spectra = layers_of({{10, 4, 1}, {1000, 40, 35}});
  CHECK(greedy(RankRule::care, spectra, 2) == std::vector<int64_t>{3, 1});
  CHECK(greedy(RankRule::waterfill, spectra, 2) == std::vector<int64_t>{1, 3});
}

TEST_CASE("CARE's released rule favours early layers and charges for ranks", "[methods][allocators]") {
  const std::vector<double> same{8, 4, 2, 1, 0.5, 0.25};
  const std::vector<Spectrum> spectra = layers_of({same, same, same});
  CHECK(greedy(RankRule::care, spectra, 2) == std::vector<int64_t>{4, 1, 1});  // a geometric tail gains more the shorter it gets
  const std::vector<int64_t> code = greedy(RankRule::care_code, spectra, 2, {.min = 1, .max = 4});
  CHECK(sum_of(code) == 6);
  CHECK(code[0] >= code[1]);
  CHECK(code[1] >= code[2]);
}

TEST_CASE("CARE gives keys and values budgets of their own", "[methods][allocators]") {
  std::vector<Spectrum> spectra;
  for (const double scale : {1.0, 5.0}) spectra.push_back({{part_of({4 * scale, 2, 1, 0.5}, true), part_of({900 * scale, 500, 400, 300}, false)}, kGroups, kWidth});
  const auto of_part = [](const std::vector<LayerRanks>& ranks, std::size_t part) { return ranks[0][part] + ranks[1][part]; };

  const std::vector<LayerRanks> care = make_greedy({RankRule::care, 2, "--rank", {}, {}})->allocate(spectra, CalibrationStats(2));
  const std::vector<LayerRanks> global = make_greedy({RankRule::waterfill, 2, "--rank", {}, {}})->allocate(spectra, CalibrationStats(2));

  CHECK(of_part(care, 0) == 4);
  CHECK(of_part(care, 1) == 4);
  CHECK(of_part(global, 0) == 2);  // the water-fill sees that values hold more
  CHECK(of_part(global, 1) == 6);
}

TEST_CASE("a tie goes to the earlier layer", "[methods][allocators][determinism]") {
  const std::vector<Spectrum> spectra = layers_of({{1, 1, 1}, {1, 1, 1}, {1, 1, 1}});
  CHECK(greedy(RankRule::waterfill, spectra, 2) == std::vector<int64_t>{3, 2, 1});
}

TEST_CASE("Fisher ranks are proportional to the root Fisher information", "[methods][allocators]") {
  const std::vector<double> flat(30, 1.0);
  std::vector<Spectrum> spectra;
  CalibrationStats stats(2);
  for (std::size_t i = 0; i < 2; ++i) {
    spectra.push_back({{part_of(flat, true), part_of(flat, false)}, kGroups, kWidth});
    stats[i].gradients.key_fisher = at::tensor({0.5, 1.5}, at::kDouble) * static_cast<double>(i + 1);  // means 1 and 2
    stats[i].gradients.value_fisher = at::tensor({3.0, 3.0}, at::kDouble);
  }
  const std::vector<LayerRanks> ranks = make_fisher(9, "--rank", {})->allocate(spectra, stats);
  CHECK(ranks == std::vector<LayerRanks>{{4, 12}, {8, 12}});

  const std::vector<LayerRanks> fours = make_fisher(9, "--rank", {.multiple = 4, .min = 4})->allocate(spectra, stats);
  CHECK(fours == std::vector<LayerRanks>{{4, 12}, {8, 12}});
  const std::vector<LayerRanks> capped = make_fisher(9, "--rank", {.max = 10})->allocate(spectra, stats);
  CHECK(capped[0][1] == 10);
  CHECK(capped[0][0] + capped[0][1] + capped[1][0] + capped[1][1] == 36);
  CHECK_THROWS_WITH(make_fisher(9, "--rank", {})->allocate(spectra, CalibrationStats(2)), Catch::Contains("gradient moments"));
}

TEST_CASE("every allocator converts any recipe within its cache", "[methods][allocators]") {
  const Decoder original = tiny_decoder({.layers = 3});
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const CollectStats collect = [&](const Decoder& model, const StatKinds& kinds, const std::string&) { return collect_stats(model, samples, kinds); };
  const auto method = GENERATE("transmla", "mha2mla");
  const double uniform = convert(original, tiny_recipe(method, {}), collect).converted.cache_values_per_token_per_layer();

  for (const char* allocator : {"energy", "care", "care_code", "fisher", "waterfill"}) {
    INFO(method << " " << allocator);
    const Conversion conversion = convert(original, tiny_recipe(method, {{"allocator", allocator}}), collect);
    CHECK(conversion.converted.cache_values_per_token_per_layer() <= uniform);
    CHECK(conversion.converted.cache_values_per_token_per_layer() > uniform - 1);

    const Conversion padded = convert(original, tiny_recipe(method, {{"allocator", allocator}, {"pad_ranks", true}}), collect);
    CHECK(padded.ranks == std::vector<LayerRanks>(3, padded.ranks[0]));
    CHECK(padded.converted.cache_values_per_token_per_layer() >= conversion.converted.cache_values_per_token_per_layer());
  }
}

TEST_CASE("options of the ranks change label and identity only where they are given", "[methods][allocators]") {
  CHECK(tiny_recipe("transmla", {}).label == "transmla ff2 r10");
  CHECK_FALSE(tiny_recipe("transmla", {}).options.contains("allocator"));
  const Recipe recipe = tiny_recipe("transmla", {{"allocator", "energy"}, {"energy_ratio", 0.9}, {"rank_multiple", 2}, {"pad_ranks", true}});
  CHECK(recipe.label == "transmla ff2 r10 energy 0.9 x2 padded");
  CHECK(recipe.options.at("energy_ratio") == 0.9);
}

TEST_CASE("ranks that no layer admits are refused with the limit", "[methods][allocators][errors]") {
  const std::vector<Spectrum> spectra = random_layers(2, 6, 3);
  CHECK_THROWS_WITH(greedy(RankRule::waterfill, spectra, 7), Catch::Contains("at most 6") && Catch::Contains("--rank"));
  CHECK_THROWS_WITH(greedy(RankRule::waterfill, spectra, 3, {.min = 4}), Catch::Contains("--min-rank of at most 3"));
  CHECK_THROWS_WITH(greedy(RankRule::waterfill, spectra, 3, {.multiple = 8}), Catch::Contains("--rank-multiple 8"));
  CHECK_THROWS_WITH(tiny_recipe("transmla", {{"energy_ratio", 0.9}}), Catch::Contains("--allocator energy"));
  CHECK_THROWS_WITH(tiny_recipe("transmla", {{"allocator", "energy"}, {"energy_ratio", 1.5}}), Catch::Contains("at most 1"));
  CHECK_THROWS_WITH(tiny_recipe("transmla", {{"min_rank", 5}, {"max_rank", 4}}), Catch::Contains("--max-rank 4"));
  CHECK_THROWS_WITH(tiny_recipe("transmla", {{"rank_multiple", 16}}), Catch::Contains("--rank-multiple 16"));
  CHECK_THROWS_WITH(tiny_recipe("transmla", {{"allocator", "wterfill"}}), Catch::Contains("waterfill"));
}
