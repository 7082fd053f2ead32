// What every recipe owes, whatever its mathematics. A new recipe is covered by its registration and one line of kLines.
#include "tests/support/catch.h"

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "core/model/deepseek_form.h"
#include "methods/convert.h"
#include "methods/latent_norms.h"
#include "tests/methods/recipe_lines.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

// Wider than every latent, so that a recipe's own limit is the only one.
const TinyShape kShape{.width = 40};

struct Factored {
  LinearLayer linear;
  SplitLayer split;
  Spectrum spectrum;
};
// Layer 0 of the original, on the original's statistics.
Factored factored(const Decoder& original, const Recipe& recipe, const CalibrationSamples& samples) {
  const auto& layer = std::get<GqaWeights>(original.layers[0].attention);
  StatKinds kinds = recipe.needs();
  kinds.input_moments = true;
  const CalibrationStats stats = collect_stats(original, samples, kinds_for(layer, recipe.form, kinds));
  Factored f{linear_layer(layer, stats[0], recipe.form), {}, {}};
  f.split = recipe.splitter->split(f.linear.weights, f.linear.stats);
  f.spectrum = recipe.factorizer->factorize(f.split, f.linear.stats);
  return f;
}

at::Tensor rebuilt(const Spectrum& spectrum, double share) {
  at::Tensor sum;
  for (const SpectrumPart& part : spectrum.parts) {
    const int64_t size = part.down.size(0), kept = part.compressed ? std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(size))) : size;
    const at::Tensor product = part.up.narrow(1, 0, kept).matmul(part.down.narrow(0, 0, kept));
    sum = sum.defined() ? sum + product : product;
  }
  return sum;
}

// E |z - rebuilt z|^2 / E |z|^2 of the keys and values that a share of each part's directions rebuilds.
double measured_error(const Factored& f, double share) {
  const at::Tensor exact = rebuilt(identity_spectrum(f.split), 1), difference = exact - rebuilt(f.spectrum, share);
  const auto energy = [&](const at::Tensor& rows) { return (rows.matmul(f.linear.stats.input.second) * rows).sum().item<double>(); };
  return energy(difference) / energy(exact);
}

Decoder with_identical_heads() {
  Decoder model = tiny_decoder(kShape);
  for (DecoderLayer& layer : model.layers) {
    auto& w = std::get<GqaWeights>(layer.attention);
    w.k = w.k.narrow(0, 0, w.head_dim).repeat({w.kv_heads, 1});
    w.v = w.v.narrow(0, 0, w.head_dim).repeat({w.kv_heads, 1});
  }
  return model;
}

// Embeddings in five dims.
Decoder with_narrow_embedding() {
  Decoder model = tiny_decoder(kShape);
  model.embedding = model.embedding.narrow(1, 0, 5).matmul(tiny_inputs(1, 5, kShape.width, 3)[0]);
  return model;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every registered recipe has a line here", "[recipes]") {
  for (const RecipeEntry* entry : recipes()) {
    INFO("add the options of " << entry->name << " for a tiny model to kLines");
    CHECK(std::any_of(kLines.begin(), kLines.end(), [&](const Line& line) { return std::string(line.method) == entry->name; }));
  }
}

TEST_CASE("every recipe at full rank equals its partial-RoPE model, or the original where it has none", "[recipes][identity]") {
  const Line line = GENERATE(from_range(kLines));
  struct Named {
    const char* name;
    TinyShape shape;
  };
  for (const Named& named : std::vector<Named>{{"plain", kShape},
                                               {"biases", {.width = 40, .biases = true}},
                                               {"q/k norm", {.width = 40, .qk_norm = true}},
                                               {"q/k norm and biases", {.width = 40, .qk_norm = true, .biases = true}},
                                               {"one query head per group", {.heads = 2, .width = 40}},
                                               {"three", {.heads = 6, .width = 40}},
                                               {"eight", {.heads = 16, .width = 40}},
                                               {"one group", {.groups = 1, .width = 40}}}) {
    if (!line.exact || named.shape.groups < line.groups) continue;
    const Decoder original = tiny_decoder(named.shape);
    INFO(line << ", " << named.name);
    CHECK(full_rank_kl(line, original, tiny_samples(2, 2, 16, original.config.vocab_size), tiny_ids(2, 30, 50, 77)) < kKlOfEquals);
  }
}

TEST_CASE("every recipe loses less the more directions it keeps", "[recipes]") {
  const Line line = GENERATE(from_range(kLines));
  if (*line.rank == '\0') return;
  const Decoder original = tiny_decoder(kShape);
  const Recipe recipe = make(line, original.config, full_rank(line, original.config));
  const Factored f = factored(original, recipe, tiny_samples(3, 4, 16, original.config.vocab_size));
  INFO(line);
  for (const SpectrumPart& part : f.spectrum.parts) {
    if (!part.compressed) continue;
    CHECK(part.energies.min().item<double>() >= -1e-12 * part.energies.max().item<double>());
    CHECK((part.energies.diff().max().item<double>() <= 1e-12 * part.energies.max().item<double>()));
  }
  const double quarter = measured_error(f, 0.25), half = measured_error(f, 0.5), whole = measured_error(f, 1);
  CHECK(half <= quarter);
  CHECK(whole <= half);
  CHECK(whole < 1e-12);
}

TEST_CASE("the order of calibration batches changes no recipe's function", "[recipes]") {
  const Line line = GENERATE(from_range(kLines));
  const Decoder original = tiny_decoder(kShape);
  const int64_t rank = half_rank(line, original.config);
  const CalibrationSamples samples = tiny_samples(2, 2, 16, original.config.vocab_size);  // four samples: a reservoir keeps them all
  CalibrationSamples turned = samples;
  std::reverse(turned.batches.begin(), turned.batches.end());

  const Conversion one = convert_with(original, make(line, original.config, rank), samples), other = convert_with(original, make(line, original.config, rank), turned);

  INFO(line);
  CHECK(kl(one.converted, other.converted, tiny_ids(2, 30, 50, 77)) < kKlOfEquals);
}

TEST_CASE("every recipe survives inputs of deficient rank, exactly at full rank", "[recipes]") {
  const Line line = GENERATE(from_range(kLines));
  const double bound = line.exact ? kKlOfEquals : 1e3;  // without an identity a finite answer is what is owed
  const CalibrationSamples samples = tiny_samples(2, 2, 16, kShape.vocab);
  INFO(line);
  CHECK(full_rank_kl(line, with_identical_heads(), samples, tiny_ids(2, 30, 50, 77)) < bound);
  CHECK(full_rank_kl(line, with_narrow_embedding(), samples, samples.batches[0].ids) < bound);

  CalibrationSamples constant = samples;  // every token the same: one direction is all there is
  for (CalibrationBatch& batch : constant.batches) batch.ids = at::full_like(batch.ids, 3);
  CHECK(full_rank_kl(line, tiny_decoder(kShape), constant, constant.batches[0].ids) < bound);
}

TEST_CASE("every orthogonal map between keys is one to 1e-10", "[recipes]") {
  const Line line = GENERATE(from_range(kLines));
  for (const bool norm : {false, true}) {
    const Decoder original = tiny_decoder({.heads = 6, .groups = 3, .width = 40, .qk_norm = norm});
    const Recipe recipe = make(line, original.config, line.step);
    const Factored f = factored(original, recipe, tiny_samples(2, 2, 16, original.config.vocab_size));
    INFO(line);
    if (!f.split.free_map.defined() || !f.split.rope_map.defined()) continue;  // keys are chosen or rebuilt, not turned
    const at::Tensor map = at::cat({f.split.rope_map, f.split.free_map});
    if (map.size(0) != map.size(1)) continue;  // a rope key beside all keys
    CHECK((map.matmul(map.t()) - at::eye(map.size(0), at::kDouble)).abs().max().item<double>() < 1e-10);
  }
}

TEST_CASE("every recipe gives equal bits for equal inputs", "[recipes][determinism]") {
  const Line line = GENERATE(from_range(kLines));
  const auto converted = [&] {
    const Decoder original = tiny_decoder(kShape);
    const CalibrationSamples samples = tiny_samples(2, 2, 16, original.config.vocab_size);
    return convert_with(original, make(line, original.config, half_rank(line, original.config)), samples).converted;
  };
  const Decoder a = converted(), b = converted();
  INFO(line);
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    const auto one = named_tensors(a.layers[i].attention), other = named_tensors(b.layers[i].attention);
    for (std::size_t t = 0; t < one.size(); ++t) CHECK(at::equal(one[t].second, other[t].second));
  }
}

TEST_CASE("every recipe refuses what it does not know and names the limit of what it does", "[recipes][errors]") {
  const Line line = GENERATE(from_range(kLines));
  const ModelConfig config = tiny_decoder(kShape).config;
  INFO(line);
  CHECK_THROWS_AS(make(line, config, line.step, {{"no_such_option", 1}}), ConfigError);
  if (*line.rank != '\0') CHECK_THROWS_WITH(make(line, config, 100000), Catch::Contains(std::to_string(full_rank(line, config))));
  CHECK(full_rank(line, config) > 0);
}

TEST_CASE("the tutorial's recipe is the file that this test compiles", "[recipes][docs]") {
  const std::string page = text_of(source_dir() / "docs/adding_a_method.md"), file = text_of(source_dir() / "tests/methods/tutorial_recipe.cpp");
  REQUIRE(file.size() > 500);
  CHECK(page.find("```cpp\n" + file + "```\n") != std::string::npos);
}

TEST_CASE("the tutorial's recipe with one KV head loses nothing", "[recipes][identity]") {
  const Decoder original = tiny_decoder({.groups = 1, .width = 40});
  const CalibrationSamples samples = tiny_samples(1, 2, 16, original.config.vocab_size);
  const Conversion conversion = convert_with(original, mean_key.make({{"kv_lora_rank", 8}}, original.config), samples);
  CHECK(kl(original, conversion.converted, tiny_ids(2, 30, 50, 77)) < kKlOfEquals);
  CHECK(conversion.converted.cache_values_per_token_per_layer() == 16);
}

namespace {

// The targets that hold what a recipe makes of a tiny model without biases and q/k norms, each giving the logits that it had. Where
// one wants a latent norm, the model is given one first.
std::set<std::string> targets_of(const Line& line) {
  const Decoder original = tiny_decoder(kShape);
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  const Decoder converted = convert_with(original, make(line, original.config, half_rank(line, original.config)), samples).converted;
  Decoder normed = converted;
  if (std::holds_alternative<MlaWeights>(converted.layers[0].attention)) add_latent_norms(normed, LatentNorm::calibrated, stats_from(samples), "");
  std::set<std::string> targets{"mlaforge"};
  for (const std::string target : {"transformers", "vllm", "llama.cpp"}) {
    try {
      const Decoder& model = target == "transformers" ? converted : normed;
      const Decoder form = to_deepseek_form(model, deepseek_shape(target, std::ssize(original.layers)));
      targets.insert(target);
      INFO(line << " for " << target);
      CHECK(kl(model, form, tiny_ids(2, 30, original.config.vocab_size)) < kKlOfEquals);
    } catch (const ConfigError&) {
    }
  }
  return targets;
}

}  // namespace

TEST_CASE("the export targets that a recipe lists are those that hold what it makes with some of its options", "[methods][export]") {
  std::map<std::string, std::set<std::string>> held;
  for (const Line& line : kLines) held[line.method].merge(targets_of(line));
  for (const auto& [method, targets] : held) {
    const RecipeEntry& entry = entry_of({method.c_str(), ""});
    INFO(method);
    CHECK(std::set<std::string>(entry.exports.begin(), entry.exports.end()) == targets);
  }
}
