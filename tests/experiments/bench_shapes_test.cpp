// Shapes without weights: they have the sizes of the models that they are named after, and what is planned is what a forward does.
#include "experiments/bench/shapes.h"

#include "core/base/error.h"
#include "experiments/bench/bench_store.h"
#include "experiments/bench/sides.h"
#include "experiments/model_plan.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

TEST_CASE("shapes have as many parameters as the models' own cards say", "[bench]") {
  // Counted by transformers' AutoModelForCausalLM.from_config of each; of llama-2-7b and llama-3-8b the papers' 6.7 B and 8.0 B.
  const std::vector<std::pair<std::string, int64_t>> known{{"llama-2-7b", 6738415616}, {"llama-3-8b", 8030261248}, {"llama-3.2-1b", 1235814400}, {"qwen2.5-7b", 7615616512},
                                                           {"smollm-135m", 134515008}, {"smollm-360m", 361821120}, {"smollm-1.7b", 1711376384}};
  CHECK(known.size() == shape_names().size());
  for (const auto& [name, parameters] : known) {
    INFO(name);
    SideFlags flags;
    flags.shapes = {name};
    flags.dtype = "bf16";
    const std::vector<BenchSide> sides = plan_sides(flags);
    REQUIRE(sides.size() == 1);
    CHECK(sides[0].model.parameters == parameters);
    CHECK(sides[0].model.weight_bytes == 2 * parameters);
  }
}

TEST_CASE("Llama-2-7B with a latent of 512 and a rope key of 64 caches 7.03 % of the original", "[bench]") {
  SideFlags flags;
  flags.shapes = {"llama-2-7b"};
  flags.latent = "512+64";
  flags.dtype = "bf16";
  const std::vector<BenchSide> sides = plan_sides(flags);
  REQUIRE(sides.size() == 2);
  CHECK(sides[0].model.kv_values == 8192);
  CHECK(sides[1].model.kv_values == 576);
  CHECK(sides[1].model.label == "mla 512+64");
  CHECK(sides[0].needs.cache(1000) == int64_t{1000} * 32 * 8192 * 2);
  CHECK(sides[1].needs.cache(1000) == int64_t{1000} * 32 * 576 * 2);
}

TEST_CASE("what is planned of a shape is what its tensors are, and the cache what a forward fills", "[bench]") {
  SideFlags flags;
  flags.shapes = {"smollm-135m"};
  flags.layers = 2;
  flags.latent = "96+32";
  flags.threads = 1;
  const std::vector<BenchSide> planned = plan_sides(flags), loaded = load_sides(flags);
  REQUIRE(loaded.size() == 2);
  for (std::size_t s = 0; s < 2; ++s) {
    CHECK(planned[s].model.parameters == loaded[s].decoder.parameters());
    CHECK(planned[s].model.kv_values == loaded[s].decoder.cache_values_per_token_per_layer());
    KvCache cache;
    CHECK(loaded[s].decoder.last_hidden(tiny_ids(3, 7, 49152), &cache).isfinite().all().item<bool>());
    CHECK(cache.bytes() == 3 * planned[s].needs.cache(7));
    CHECK(loaded[s].model.model == "smollm-135m, 2 layers");
  }
  CHECK(loaded[0].decoder.layers[0].gate_up.is_same(loaded[1].decoder.layers[0].gate_up));  // shared, so that both fit where one does
}

TEST_CASE("a shape's latent attention reads its cache as it is: absorbed and expanded agree", "[bench]") {
  ModelConfig config = find_shape("smollm-135m", 1);
  config.vocab_size = 100;
  const Decoder original = random_decoder(config, at::kCPU, at::kFloat, 3), latent = with_latent_attention(original, {96, 32}, 3);
  const at::Tensor ids = tiny_ids(1, 9, 100);

  CHECK(max_relative_error(latent.last_hidden(ids, nullptr, MlaPath::absorbed), latent.last_hidden(ids, nullptr, MlaPath::expanded)) < kFp32Reordering);
  CHECK(at::equal(random_decoder(config, at::kCPU, at::kFloat, 3).layers[0].down, original.layers[0].down));
  CHECK_FALSE(at::equal(random_decoder(config, at::kCPU, at::kFloat, 4).layers[0].down, original.layers[0].down));
}

TEST_CASE("a wrong shape, latent or number of layers is named", "[bench][errors]") {
  CHECK_THROWS_WITH(find_shape("llama-2-7"), Contains("did you mean 'llama-2-7b'?"));
  CHECK_THROWS_WITH(find_shape("smollm-135m", 31), Contains("at most 30"));
  CHECK(parse_latent("512+64").rank == 512);
  CHECK_THROWS_WITH(parse_latent("512"), Contains("position 4 of --mla 512"));
  CHECK_THROWS_WITH(parse_latent("x+64"), Contains("position 1"));
  CHECK_THROWS_WITH(parse_latent("512+64x"), Contains("position 5"));
  CHECK_THROWS_WITH(parse_latent("512+63"), Contains("even"));
}

TEST_CASE("a benchmark's run says what generated and why not the engine, beside its identity", "[bench][engine]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  BenchSide side;
  side.record = sample_record();
  side.stage = "mla";
  BenchRow fallen{.model = {.model = "a", .label = "b"}, .test = {.generated = 4}, .seconds = {2}}, plain = fallen, engine = fallen, prompt = fallen;
  fallen.model.decode_reason = "layer 0 has experts";
  engine.model.decode = "engine";
  prompt.test = {.prompt = 4};
  const auto stored = [&](const BenchRow& row) { return store.read_run(store_row(store, side, row, {})).first; };

  CHECK(stored(fallen).library_versions.at("decode") == Json{{"mla", {{"way", "libtorch"}, {"reason", "layer 0 has experts"}}}});
  CHECK(stored(engine).library_versions.at("decode") == Json{{"mla", {{"way", "engine"}}}});
  CHECK_FALSE(stored(prompt).library_versions.contains("decode"));
  CHECK(run_identity(stored(fallen)) == run_identity(stored(plain)));  // the way is part of it, the reason is not
  CHECK(run_identity(stored(engine)) != run_identity(stored(plain)));
}
