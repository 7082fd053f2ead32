// Every recipe on a device: what its decompositions span, and the model that comes of it.
#include "core/model/deepseek_form.h"
#include "core/tensor/decompositions.h"
#include "methods/latent_norms.h"
#include "methods/streamed_convert.h"
#include "tests/device/devices.h"
#include "tests/methods/recipe_lines.h"
#include "tests/support/cache_folder.h"

using namespace mla;
using namespace mla::test;

namespace {

const std::vector<std::pair<const char*, TinyShape>> kShapes{{"plain", {.width = 40}}, {"biases", {.width = 40, .biases = true}}, {"q/k norm", {.width = 40, .qk_norm = true}}};

// Recipes and options that kLines does not have: healers, what is solved on the way, query latents, norms.
const std::vector<Line> kMore{
    {"stream_match", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"steps", 3}, {"ridge", 0.1}}},
    {"stream_match", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"steps", 0}, {"ridge", 0.2}, {"metric", "gradient"}}},
    {"transmla", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"q_lora_rank", 9}, {"use_qkv_norm", "calibrated"}, {"fold_scale", true}}},
    {"transmla", "kv_lora_rank", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"recalibrate", false}, {"allocator", "waterfill"}}},
    {"mha2mla", "low_rank", {{"rope_selection", "uniform"}, {"rope_dim", 4}, {"svd", "split"}, {"gqa2mha2mla", true}}},
    {"mla_retrofit", "", {{"rope_mode", "extend"}, {"absorb", true}}},
    {"palu", "group_rank", {{"hadamard", true}, {"group_size", 1}, {"allocator", "fisher"}}},
    {"x_ecomla", "kv_lora_rank", {{"qk_rope_head_dim", 4}, {"q_lora_rank", 9}}},
};

std::vector<Line> every_line() {
  std::vector<Line> lines = kLines;
  lines.insert(lines.end(), kMore.begin(), kMore.end());
  return lines;
}

// What the first `rank` directions of a decomposition (all of a part that is not cut) rebuild keys and values from.
at::Tensor spanned(const Spectrum& spectrum, int64_t rank) {
  at::Tensor sum;
  for (const SpectrumPart& part : spectrum.parts) {
    const int64_t kept = part.compressed ? std::min(rank, part.down.size(0)) : part.down.size(0);
    const at::Tensor rebuilt = part.up.narrow(1, 0, kept).matmul(part.down.narrow(0, 0, kept)).cpu();
    sum = sum.defined() ? sum + rebuilt : rebuilt;
  }
  return sum;
}

struct Decomposed {
  SplitLayer split;
  Spectrum spectrum;
};
Decomposed decomposed(const Decoder& model, const Recipe& recipe, const CalibrationStats& stats, std::size_t layer) {
  const LinearLayer linear = linear_layer(std::get<GqaWeights>(model.layers[layer].attention), stats[layer], recipe.form);
  Decomposed d{recipe.splitter->split(linear.weights, linear.stats), {}};
  d.spectrum = recipe.factorizer->factorize(d.split, linear.stats);
  return d;
}

void spans_are_the_cpus(at::Device device) {
  for (const Line& line : every_line())
    for (const auto& [name, shape] : kShapes) {
      if (shape.groups < line.groups) continue;
      INFO(line << ", " << name);
      const Decoder host = tiny_decoder(shape), there = on_device(host, device);
      const int64_t rank = half_rank(line, host.config);
      const Recipe recipe = make(line, host.config, rank);
      StatKinds kinds = recipe.needs();
      kinds.input_moments = true;
      const CalibrationStats stats = collect_stats(host, tiny_samples(3, 4, 16, host.config.vocab_size), kinds_for(std::get<GqaWeights>(host.layers[0].attention), recipe.form, kinds));
      const Decomposed found = decomposed(there, recipe, stats, 1), wanted = decomposed(host, recipe, stats, 1);
      CHECK(found.spectrum.parts.front().up.device().type() == device.type());
      for (const auto& [a, b] : {std::pair{found.split.q_rope, wanted.split.q_rope}, {found.split.q_nope, wanted.split.q_nope}, {found.split.v, wanted.split.v}})
        if (b.numel() > 0) CHECK(max_relative_error(a.cpu().square().sum(0), b.square().sum(0)) < kFp64Span);  // directions have no sign
      for (const int64_t kept : {rank, full_rank(line, host.config)}) CHECK(max_relative_error(spanned(found.spectrum, kept), spanned(wanted.spectrum, kept)) < kFp64Span);
      for (std::size_t i = 0; i < wanted.spectrum.parts.size(); ++i) {
        const at::Tensor &a = found.spectrum.parts[i].energies, &b = wanted.spectrum.parts[i].energies;
        if (b.max().item<double>() > 0) CHECK(max_relative_error(a.cpu(), b) < kFp64Span);
      }
    }
}

void batched_eigenpairs(at::Device device) {
  std::vector<at::Tensor> symmetric;
  for (const int64_t size : {6, 4, 6, 6, 1}) {
    const at::Tensor a = tiny_inputs(1, size, size, static_cast<uint64_t>(10 + symmetric.size()))[0].to(at::kDouble);
    symmetric.push_back(a.matmul(a.t()));
  }
  std::vector<at::Tensor> there;
  for (const at::Tensor& each : symmetric) there.push_back(each.to(device));
  const std::vector<Eigenpairs> found = descending_eigenpairs(there);
  for (std::size_t i = 0; i < symmetric.size(); ++i) {
    const at::Tensor values = found[i].values.cpu(), vectors = found[i].vectors.cpu(), alone = descending_eigenpairs(symmetric[i]).values;
    CHECK(max_relative_error((vectors * values).matmul(vectors.t()), symmetric[i]) < kFp64Span);
    CHECK(max_relative_error(values, alone) < kFp64Span);
    CHECK((values.size(0) == 1 || values.diff().max().item<double>() <= 0));
  }
}

// Behind q/k norms the latent form of svd sees selectors in place of weights: their directions weigh the same, and rounding says which are kept.
bool left_to_rounding(const Line& line, const TinyShape& shape) { return shape.qk_norm && std::string(line.method) == "svd" && line.options.contains("form"); }

void conversions_are_the_cpus(at::Device device) {
  for (const Line& line : every_line())
    for (const auto& [name, shape] : kShapes) {
      if (shape.groups < line.groups || left_to_rounding(line, shape)) continue;
      INFO(line << ", " << name);
      const Decoder host = tiny_decoder(shape), there = on_device(host, device);
      const CalibrationSamples samples = tiny_samples(3, 4, 16, host.config.vocab_size);
      const Recipe recipe = make(line, host.config, half_rank(line, host.config));
      const Conversion found = convert_with(there, recipe, samples), wanted = convert_with(host, recipe, samples);
      CHECK(found.ranks == wanted.ranks);
      check_lies_on(found.converted, device);
      CHECK(kl(wanted.converted, on_device(found.converted, at::kCPU), tiny_ids(2, 30, 50, 77)) < kKlOfEquals);
      REQUIRE(found.partial_rope.has_value() == wanted.partial_rope.has_value());
      if (!wanted.partial_rope) continue;
      check_lies_on(*found.partial_rope, device);
      CHECK(kl(*wanted.partial_rope, on_device(*found.partial_rope, at::kCPU), tiny_ids(2, 30, 50, 77)) < kKlOfEquals);
    }
}

void check_equal_bits(const Decoder& a, const Decoder& b) {
  for (std::size_t layer = 0; layer < a.layers.size(); ++layer) {
    const auto one = named_tensors(a.layers[layer].attention), other = named_tensors(b.layers[layer].attention);
    REQUIRE(one.size() == other.size());
    for (std::size_t t = 0; t < one.size(); ++t) {
      INFO("layer " << layer << ", " << one[t].first);
      CHECK(at::equal(one[t].second.cpu(), other[t].second.cpu()));
    }
  }
}

void streamed_conversions_have_equal_bits(at::Device device) {
  for (const Line& line : {kLines[1], kMore[0], kMore[2], kLines[0]}) {
    INFO(line);
    const TemporaryFolder folder;
    save_decoder(tiny_decoder({.width = 40}), "{}", {{"method", "none"}}, folder / "model");
    const LayerStream stream = open_layers(Checkpoint::open(folder / "model"), device, at::kFloat);
    const Decoder model = stream.load();
    const CalibrationSamples samples = tiny_samples(2, 2, 16, model.config.vocab_size);
    const Recipe recipe = make(line, model.config, half_rank(line, model.config));
    const StreamSource source{[&](const Decoder& frame, const StatKinds& kinds, const std::string&) { return measured_stats(frame, samples, kinds); }, "", &samples, folder.path()};
    const Decoder streamed = convert_streamed(stream, recipe, source).converted.load();
    check_lies_on(streamed, device);
    check_equal_bits(streamed, convert_with(model, recipe, samples).converted);
  }
}

// Decompositions and statistics that a cache keeps are read again by a model on a device.
void caches_serve_a_device(at::Device device) {
  const CacheFolder cache;
  const Decoder model = on_device(tiny_decoder({.layers = 1, .heads = 4, .groups = 4, .head_dim = 80, .width = 40}), device);
  const CalibrationSamples samples = tiny_samples(1, 2, 8, model.config.vocab_size);
  const Recipe recipe = find_recipe("transmla").make({{"freqfold", 2}, {"qk_mqa_dim", 80}, {"kv_lora_rank", 30}}, model.config);
  const ConversionSource source([&](const Decoder& m, const StatKinds& kinds, const std::string& state) { return cached_stats(state, [&] { return collect_stats(m, samples, kinds); }); }, "key");
  const Decoder first = convert(model, recipe, source).converted;
  CHECK(fs::exists(cache.path() / "spectra"));
  CHECK(fs::exists(cache.path() / "stats"));
  check_equal_bits(first, convert(model, recipe, source).converted);
}

void exports_take_a_device(at::Device device) {
  const CalibrationSamples samples = tiny_samples(2, 3, 16, 50);
  Decoder there = convert_with(on_device(tiny_decoder({.width = 40}), device), make(kLines[1], tiny_decoder({.width = 40}).config, 12), samples).converted;
  add_latent_norms(there, LatentNorm::calibrated, stats_from(samples), "");
  const Decoder form = to_deepseek_form(there, deepseek_shape("transformers", 2));
  check_lies_on(form, device);
  CHECK(kl(on_device(there, at::kCPU), on_device(form, at::kCPU), tiny_ids(2, 30, 50)) < kKlOfEquals);

  const TemporaryFolder folder;
  save_decoder(there, "{}", {{"method", "test"}}, folder / "model");
  check_equal_bits(load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat), there);
}

const std::vector<DeviceCheck> kChecks{
    {"eigenpairs of several matrices are those of each", batched_eigenpairs},
    {"decompositions of every recipe span what the CPU's do, to 1e-8", spans_are_the_cpus},
    {"every recipe converts to the CPU's model, with its weights on the device", conversions_are_the_cpus},
    {"a conversion that streams has the bits of one in memory", streamed_conversions_have_equal_bits},
    {"what the cache holds of statistics and decompositions serves a model on a device", caches_serve_a_device},
    {"a model on a device is exported and saved as one on the CPU", exports_take_a_device},
};

}  // namespace

TEST_CASE("conversion on the fake card", "[device][fake]") { on_fake_card(kChecks); }
TEST_CASE("conversion on a card", "[device][card]") { on_real_card(kChecks); }
