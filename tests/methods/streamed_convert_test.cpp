// Layer by layer from a checkpoint on disk, every recipe makes the very bits that it makes of a model in memory.
#include "methods/streamed_convert.h"

#include "core/base/process.h"
#include "core/model/layer_files.h"
#include "tests/methods/recipe_lines.h"
#include "tests/support/cache_folder.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// A tiny model in a folder, as a checkpoint that is read layer by layer.
struct OnDisk {
  TemporaryFolder folder;
  explicit OnDisk(const Decoder& model) { save_decoder(model, "{}", {{"method", "none"}}, folder / "model"); }
  LayerStream open(at::ScalarType dtype = at::kFloat) const { return open_layers(Checkpoint::open(folder / "model"), at::kCPU, dtype); }
};

// Statistics that were measured before, given layer by layer: of gradients, which no stream measures.
class GivenStats : public StatsStream {
 public:
  explicit GivenStats(CalibrationStats stats) : stats_(std::move(stats)) {}
  LayerParts reads() const override { return LayerParts::outline; }
  LayerStats next(const Decoder&, int64_t layer) override { return stats_.at(static_cast<std::size_t>(layer)); }

 private:
  CalibrationStats stats_;
};

StreamSource source_of(const OnDisk& disk, const Decoder& model, const CalibrationSamples& samples) {
  return {[&](const Decoder& frame, const StatKinds& kinds, const std::string&) -> std::unique_ptr<StatsStream> {
            if (kinds.gradient_moments) return std::make_unique<GivenStats>(collect_stats(model, samples, kinds));
            return measured_stats(frame, samples, kinds);
          },
          "", &samples, disk.folder.path()};
}

void check_equal(const LayerStream& streamed, const Decoder& in_memory) {
  REQUIRE(streamed.layers() == std::ssize(in_memory.layers));
  for (int64_t layer = 0; layer < streamed.layers(); ++layer) {
    const DecoderLayer& in_place = in_memory.layers[static_cast<std::size_t>(layer)];
    const DecoderLayer read = streamed.read(layer);
    CHECK(at::equal(read.down, in_place.down));
    const AttentionWeights &wanted = in_place.attention, &found = read.attention;
    const auto a = named_tensors(wanted), b = named_tensors(found);
    CHECK(describe_attention(found) == describe_attention(wanted));
    CHECK(describe_attention(streamed.read(layer, LayerParts::outline).attention) == describe_attention(wanted));
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      INFO("layer " << layer << ", " << a[i].first);
      CHECK(a[i].second.scalar_type() == b[i].second.scalar_type());
      CHECK(at::equal(a[i].second, b[i].second));
    }
  }
}

void check_streams_equal(const Decoder& drawn, const Recipe& recipe, at::ScalarType dtype = at::kFloat) {
  const OnDisk disk(drawn);
  const Decoder model = disk.open(dtype).load();
  const CalibrationSamples samples = tiny_samples(2, 2, 16, model.config.vocab_size);
  const Conversion wanted = convert_with(model, recipe, samples);
  const StreamedConversion found = convert_streamed(disk.open(dtype), recipe, source_of(disk, model, samples));
  CHECK(found.ranks == wanted.ranks);
  CHECK(found.healing.tokens == wanted.healing.tokens);
  check_equal(found.converted, wanted.converted);
}

}  // namespace

TEST_CASE("every recipe streamed from disk makes the bits that it makes in memory", "[recipes][stream]") {
  const Line line = GENERATE(from_range(kLines));
  for (const TinyShape& shape : {TinyShape{.layers = 3, .width = 40}, TinyShape{.width = 40, .biases = true}, TinyShape{.width = 40, .qk_norm = true}}) {
    const Decoder model = tiny_decoder(shape);
    INFO(line << (shape.biases ? ", biases" : shape.qk_norm ? ", q/k norm" : ""));
    check_streams_equal(model, make(line, model.config, half_rank(line, model.config)));
  }
}

TEST_CASE("ranks that depend on all layers, query latents, latent norms and healers stream with the same bits", "[recipes][stream]") {
  const Json small{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}};
  const std::vector<std::pair<const char*, Json>> cases{{"transmla", {{"allocator", "waterfill"}}},
                                                        {"transmla", {{"allocator", "fisher"}}},
                                                        {"transmla", {{"allocator", "energy"}, {"pad_ranks", true}}},
                                                        {"transmla", {{"q_lora_rank", 12}, {"recalibrate", false}}},
                                                        {"transmla", {{"use_qkv_norm", "as_shipped"}}},
                                                        {"transmla", {{"use_qkv_norm", "calibrated"}, {"q_lora_rank", 12}}},
                                                        {"stream_match", {{"steps", 3}}},
                                                        {"stream_match", {{"steps", 0}, {"mlp_ridge", 0.3}}}};
  for (const auto& [method, more] : cases) {
    Json options = small;
    options.update(more);
    const Decoder model = tiny_decoder({.layers = 3, .width = 40});
    INFO(method << ' ' << more.dump());
    check_streams_equal(model, find_recipe(method).make(options, model.config));
  }
}

TEST_CASE("a stream in bf16 makes the bits that are made in memory", "[recipes][stream]") {
  const Decoder model = tiny_decoder({.layers = 3});
  check_streams_equal(model, find_recipe("transmla").make({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}, model.config), at::kBFloat16);
}

TEST_CASE("statistics that a stream measured are found by a conversion in memory, and the other way round", "[stream][cache]") {
  const CacheFolder cache;
  const Decoder model = tiny_decoder({.layers = 3});
  const LayerStream stream(model);
  const CalibrationSamples samples = tiny_samples(2, 2, 16, model.config.vocab_size);
  const StatKinds kinds{.input_moments = true};
  bool hit = true;
  const auto take_all = [&](StatsStream& stats) {
    CalibrationStats all;
    for (int64_t layer = 0; layer < stream.layers(); ++layer) all.push_back(stats.next(stream.with_layer(layer), layer));
    return all;
  };
  const auto measure = [&] { return measured_stats(stream.frame(), samples, kinds); };
  const auto equal = [](const CalibrationStats& a, const CalibrationStats& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
      if (!at::equal(a[i].input.second, b[i].input.second)) return false;
    return a.size() == b.size();
  };

  const CalibrationStats first = take_all(*cached_stats_stream("one", measure, &hit));
  CHECK_FALSE(hit);
  CHECK(equal(first, cached_stats("one", [&]() -> CalibrationStats { FAIL("measured again"); return {}; }, &hit)));
  CHECK(hit);
  CHECK(equal(first, take_all(*cached_stats_stream("one", measure, &hit))));
  CHECK(hit);
  CHECK(equal(first, cached_stats("two", [&] { return collect_stats(model, samples, kinds); }, &hit)));
  CHECK(equal(first, take_all(*cached_stats_stream("two", measure, &hit))));
  CHECK(hit);

  cached_stats_stream("three", measure, &hit)->next(stream.with_layer(0), 0);  // ends early, as a killed one does
  CHECK(equal(first, cached_stats("three", [&] { return collect_stats(model, samples, kinds); }, &hit)));
  CHECK_FALSE(hit);
}

TEST_CASE("what needs the whole model says why it does not stream", "[stream][errors]") {
  const OnDisk disk(tiny_decoder());
  const Decoder model = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 2, 16, model.config.vocab_size);
  const Recipe searched = find_recipe("transmla").make({{"freqfold", "auto"}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}, model.config);
  CHECK_THROWS_WITH(convert_streamed(disk.open(), searched, source_of(disk, model, samples)), Contains("layer by layer") && Contains("auto"));
  CHECK_THROWS_AS(measured_stats(model, samples, {.gradient_moments = true}), ConfigError);
  CHECK_THROWS_WITH(measured_stats(model, samples, {.gradient_moments = true}), Contains("backward pass"));
}

TEST_CASE("a layer is read in parts, and an outline has every tensor's shape and type", "[stream]") {
  for (const TinyShape& shape : {TinyShape{}, TinyShape{.qk_norm = true, .biases = true}}) {
    const OnDisk disk(tiny_decoder(shape));
    const LayerStream stream = disk.open(at::kBFloat16);
    DecoderLayer whole = stream.read(1), attention = stream.read(1, LayerParts::attention), outline = stream.read(1, LayerParts::outline);
    CHECK(attention.gate_up.is_meta());
    CHECK(at::equal(attention.attention_norm, whole.attention_norm));
    std::vector<at::Tensor> tensors, shapes;
    each_layer_tensor(whole, [&](at::Tensor& tensor) { tensors.push_back(tensor); });
    each_layer_tensor(outline, [&](at::Tensor& tensor) { shapes.push_back(tensor); });
    REQUIRE(tensors.size() == shapes.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      REQUIRE(tensors[i].defined() == shapes[i].defined());
      if (!tensors[i].defined()) continue;
      CHECK(shapes[i].is_meta());
      CHECK(shapes[i].sizes() == tensors[i].sizes());
      CHECK(shapes[i].scalar_type() == tensors[i].scalar_type());
    }
    const Decoder loaded = stream.load();
    CHECK(stream.parameters() == loaded.parameters());
    CHECK(stream.cache_values_per_token_per_layer() == loaded.cache_values_per_token_per_layer());
    const at::Tensor ids = tiny_ids(1, 9, 50);
    CHECK(at::equal(stream.last_hidden(ids), loaded.last_hidden(ids)));
  }
}
