// The decode engine beside Decoder's own decoding: over the operators' references, over their emulated kernels, and on a card.
#include <c10/core/CPUAllocator.h>

#include "core/base/error.h"
#include "core/engine/decode_path.h"
#include "tests/engine/engine_models.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;

namespace {

const std::vector<int64_t> kRagged{1, 61, 5, 130};  // one step within a page, one across its end, one in the third page

struct NamedModel {
  std::string name;
  Decoder decoder;
};

Decoder limited(Decoder decoder, const ScoreLimits& limits) {
  for (DecoderLayer& layer : decoder.layers) std::visit([&](auto& form) { form.limits = limits; }, layer.attention);
  return decoder;
}

Decoder gemma_like() {
  const TinyShape shape{.heads = 6, .groups = 3};
  Decoder decoder = limited(tiny_decoder(shape), {.softcap = 4, .window = 0});
  std::get<GqaWeights>(decoder.layers[0].attention).limits.window = 20;
  decoder.config.activation = Activation::gelu_tanh;
  decoder.config.embedding_scale = 3;
  decoder.config.logit_softcap = 5;
  for (DecoderLayer& layer : decoder.layers) {
    layer.attention_post_norm = layer.attention_norm * 0.5;
    layer.mlp_post_norm = layer.mlp_norm * 0.5;
  }
  return decoder;
}

// Frequencies that follow the sequence's length from 64 tokens on.
Decoder stretched() {
  Decoder decoder = tiny_decoder({.heads = 6, .groups = 3});
  for (DecoderLayer& layer : decoder.layers) {
    RopePlan& rope = std::get<GqaWeights>(layer.attention).rope;
    rope.short_length = 64;
    rope.long_inv_freq = rope.inv_freq / 3;
    rope.attention_factor = 1.1;
  }
  return decoder;
}

Decoder normed_latent() {
  const TinyShape shape{.heads = 4, .groups = 2};
  const LatentParts parts;
  Decoder decoder = latent_decoder(shape, parts);
  for (DecoderLayer& layer : decoder.layers) {
    auto& w = std::get<MlaWeights>(layer.attention);
    const GqaWeights plain = tiny_gqa({.heads = 4, .groups = 2, .qk_norm = true, .biases = true}, 3);
    w.normed = NormedProjections{plain.q, plain.k, plain.v, plain.q_bias, plain.k_bias, plain.v_bias, *plain.norm, plain.head_dim};
    const auto reading = [](int64_t rows, int64_t columns) { return at::randn({rows, columns}) / std::sqrt(static_cast<double>(columns)); };
    w.q = reading(w.q.size(0), w.normed->query_width());
    w.k_rope = reading(w.k_rope.size(0), w.normed->key_value_width());
    w.kv_a = reading(w.kv_a.size(0), w.normed->key_value_width());
  }
  return decoder;
}

std::vector<NamedModel> models() {
  const TinyShape six{.heads = 6, .groups = 3}, four{.heads = 4, .groups = 2};
  return {{"one group", tiny_decoder({.heads = 4, .groups = 1})},
          {"three groups of two", tiny_decoder(six)},
          {"normed heads, biases", tiny_decoder({.heads = 4, .groups = 4, .qk_norm = true, .biases = true})},
          {"soft-caps, a window, norms of what is added", gemma_like()},
          {"a window", limited(tiny_decoder(six), {.softcap = 0, .window = 7})},
          {"frequencies by length", stretched()},
          {"latent 12+8", latent_decoder(four, {})},
          {"latent 20+2, one up-projection for all", latent_decoder(six, {.rank = 20, .rope = 2, .groups = 1, .nope = 8, .biases = true})},
          {"latent with low queries and norms", latent_decoder(four, {.rank = 16, .rope = 8, .groups = 4, .nope = 8, .low_queries = true, .latent_norm = true})},
          {"latent with rope keys of its own per group", latent_decoder(four, {.rope_heads = 2})},
          {"latent behind normed heads", normed_latent()},
          {"latent, soft-cap and window", limited(latent_decoder(four, {}), {.softcap = 3, .window = 9})}};
}

CacheFormat integers(int bits, int64_t group, int64_t residual) {
  CacheFormat format;
  format.quant = QuantFormat{.bits = bits, .group = group};
  format.residual = residual;
  return format;
}

// bf16 sums in another order: one rounding of 2^-9 in each of some dozen steps of two layers.
constexpr double kBf16Steps = 0.05;

void check_model(const NamedModel& model, const EngineMachine& machine, double tolerance, const CacheFormat& format = {}) {
  INFO(model.name);
  const std::vector<at::Tensor> prompts = drawn_prompts(kRagged, model.decoder.config.vocab_size);
  const Continuations wanted = by_decoder(model.decoder, prompts, 6, format), got = by_engine(model.decoder, machine, prompts, 6, {.cache = format});
  CHECK(got.ids == wanted.ids);
  CHECK(largest_error(got, wanted) < tolerance);
}

EngineMachine references() { return engine_machine(at::kCPU); }
EngineMachine emulated() { return engine_machine(*mlaforge_cuda_table()); }

// LibTorch's CUDA libraries and the module, or the reason why not.
struct FoundCard {
  std::optional<at::Device> device;
  std::string reason;
};
const FoundCard& found_card() {
  static const FoundCard found = [] {
    try {
      const at::Device device = parse_device("cuda");
      engine_machine(device);
      return FoundCard{device, {}};
    } catch (const Error& error) {
      return FoundCard{std::nullopt, error.what()};
    }
  }();
  return found;
}
bool no_card() {
  if (found_card().device) return false;
  skip(found_card().reason);
  return true;
}

}  // namespace

TEST_CASE("the engine over the references decodes as the decoder does, token by token, ragged prompts in one batch", "[engine]") {
  for (const NamedModel& model : models()) check_model(model, references(), kFp32Reordering);
}

TEST_CASE("the engine over the emulated kernels decodes as the decoder does", "[engine]") {
  for (const NamedModel& model : models()) check_model(model, emulated(), kFp32Reordering);
}

TEST_CASE("the engine in bf16 chooses the decoder's tokens", "[engine]") {
  const TinyShape shape{.heads = 4, .groups = 2, .head_dim = 16};
  const NamedModel gqa{"grouped", moved(tiny_decoder(shape), at::kCPU, at::kBFloat16)};
  const NamedModel latent{"latent 32+16", moved(latent_decoder(shape, {.rank = 32, .rope = 16, .nope = 16, .v = 16}), at::kCPU, at::kBFloat16)};
  const NamedModel odd{"latent whose rope queries are not in whole chunks", moved(latent_decoder(shape, {.rank = 32, .rope = 16, .nope = 13, .v = 16}), at::kCPU, at::kBFloat16)};
  for (const NamedModel* model : {&gqa, &latent, &odd}) {
    check_model(*model, references(), kBf16Steps);
    check_model(*model, emulated(), kBf16Steps);
  }
}

TEST_CASE("caches of integers decode as the decoder's do, the window of whole tokens included", "[engine][kv_cache]") {
  const NamedModel gqa{"grouped", tiny_decoder({.heads = 6, .groups = 3})}, windowed{"window", limited(gqa.decoder, {.softcap = 0, .window = 21})};
  const NamedModel latent{"latent without a rope key", latent_decoder({.heads = 4, .groups = 2}, {.rank = 24, .rope = 0})};
  for (const int bits : {8, 4})
    for (const int64_t residual : {0, 3, 66}) {
      INFO(bits << " bits, the last " << residual << " tokens whole");
      for (const NamedModel* model : {&gqa, &windowed, &latent}) {
        REQUIRE(follows_rule(model->decoder, integers(bits, 8, residual)));
        check_model(*model, references(), kFp32Reordering, integers(bits, 8, residual));
      }
      if (residual == 0) check_model(gqa, emulated(), kFp32Reordering, integers(bits, 4, residual));
    }
}

TEST_CASE("pages hold the bits of the decoder's integers", "[engine][kv_cache]") {
  const Decoder decoder = tiny_decoder({.heads = 6, .groups = 3});
  const CacheFormat format = integers(4, 8, 5);
  const at::Tensor ids = tiny_ids(1, 90, decoder.config.vocab_size);
  DecodeEngine engine(decoder, references(), {100}, {.cache = format});
  KvCache cache;
  decoder.last_hidden(ids, &cache);
  const LayerCache::Streams rows = cache.layers[1].read();
  const QuantBlock wanted = quantize(rows.second.narrow(1, 0, 85), *format.quant);

  engine.adopt(0, cache, at::zeros({1, 1}, at::kLong));

  const PagedStream& values = engine.layer(1).second();
  CHECK(at::equal(values.values().flatten(0, 1).narrow(0, 0, 85), wanted.codes[0]));
  CHECK(at::equal(values.affines().flatten(0, 1).narrow(0, 0, 85).unflatten(1, {-1, 2}).select(2, 0), wanted.scale[0]));
}

TEST_CASE("a latent's integers leave rope keys as they are, which is said", "[engine][kv_cache]") {
  const Decoder latent = latent_decoder({.heads = 4, .groups = 2}, {.rank = 24});
  const CacheFormat format = integers(8, 8, 3);
  CHECK_FALSE(why_not_held(latent, format));
  CHECK_FALSE(follows_rule(latent, format));
  const std::vector<at::Tensor> prompts = drawn_prompts({70}, latent.config.vocab_size);
  CHECK(largest_error(by_engine(latent, references(), prompts, 4, {.cache = format}), by_decoder(latent, prompts, 4)) < 0.02);  // half a step of 1/255 in each latent value
  DecodeEngine engine(latent, references(), {128}, {.cache = format});
  CHECK(engine.cache_bytes(100) == 2 * (97 * (24 + 3 * 4 + 8 * 4) + 3 * (24 + 8) * 4));
}

TEST_CASE("given tokens are fed in place of choices, and a saved state stands again", "[engine]") {
  for (const CacheFormat& format : {CacheFormat{}, integers(8, 8, 3)}) {
    const Decoder decoder = tiny_decoder({.heads = 6, .groups = 3});
    const at::Tensor ids = tiny_ids(2, 80, decoder.config.vocab_size);
    DecodeEngine engine(decoder, references(), {80, 80}, {.cache = format});
    KvCache cache, own{{}, format};
    decoder.last_hidden(ids.narrow(1, 0, 60), &cache);
    decoder.last_hidden(ids.narrow(1, 0, 60), &own);
    engine.adopt(0, cache, ids.narrow(1, 60, 20));
    engine.save();
    at::Tensor wanted;
    for (int64_t t = 60; t < 80; ++t) wanted = decoder.logits(decoder.last_hidden(ids.narrow(1, t, 1), &own).select(1, -1));

    engine.run(20);
    CHECK(max_relative_error(engine.logits(), wanted) < kFp32Reordering);
    CHECK(engine.lengths() == std::vector<int64_t>{80, 80});
    CHECK(engine.cache_bytes() == own.bytes());
    const at::Tensor first = engine.logits();
    engine.restore();
    engine.run(20);
    CHECK(at::equal(engine.logits(), first));
  }
}

TEST_CASE("a batch without a past begins at its first given token", "[engine]") {
  const Decoder decoder = latent_decoder({.heads = 4, .groups = 2}, {});
  const at::Tensor ids = tiny_ids(2, 9, decoder.config.vocab_size);
  DecodeEngine engine(decoder, references(), {9, 9});
  KvCache none;
  engine.adopt(0, none, ids);
  engine.run(9);
  CHECK(max_relative_error(engine.logits(), decoder.logits(decoder.last_hidden(ids).select(1, -1))) < kFp32Reordering);
}

TEST_CASE("no new token is no step, and a sequence beyond its pages is refused before anything runs", "[engine][errors]") {
  const Decoder decoder = tiny_decoder();
  DecodeEngine engine(decoder, references(), {70, 64});
  KvCache cache;
  decoder.last_hidden(tiny_ids(2, 60, decoder.config.vocab_size), &cache);
  engine.adopt(0, cache, at::zeros({2, 1}, at::kLong));
  engine.run(0);
  CHECK(engine.lengths() == std::vector<int64_t>{60, 60});
  CHECK_THROWS_WITH(engine.run(5), Catch::Contains("sequence 1") && Catch::Contains("pages for 64"));
  CHECK(engine.lengths() == std::vector<int64_t>{60, 60});
  engine.run(4);
  CHECK(engine.lengths() == std::vector<int64_t>{64, 64});
  KvCache longer;
  decoder.last_hidden(tiny_ids(1, 65, decoder.config.vocab_size), &longer);
  CHECK_THROWS_AS(engine.adopt(1, longer, at::zeros({1, 1}, at::kLong)), ResourceError);
}

TEST_CASE("forbidden tokens are not chosen before their place", "[engine]") {
  const Decoder decoder = tiny_decoder();
  const std::vector<at::Tensor> prompts = drawn_prompts({8}, decoder.config.vocab_size);
  const std::vector<int64_t> free = by_decoder(decoder, prompts, 4).ids[0];
  DecodeEngine engine(decoder, references(), {20});
  KvCache cache;
  decoder.last_hidden(prompts[0].unsqueeze(0), &cache);
  engine.adopt(0, cache, at::full({1, 1}, free[0], at::kLong));
  engine.forbid(0, {static_cast<int32_t>(free[1])}, 10);
  engine.run(2);
  CHECK(engine.tokens()[0][9].item<int64_t>() != free[1]);
}

TEST_CASE("logits that are no numbers are an error", "[engine][errors]") {
  Decoder decoder = tiny_decoder();
  decoder.embedding = decoder.embedding.clone();
  decoder.head = decoder.embedding;
  decoder.embedding[3].fill_(NAN);
  DecodeEngine engine(decoder, references(), {4});
  KvCache none;
  engine.adopt(0, none, at::full({1, 1}, 3, at::kLong));
  CHECK_THROWS_AS(engine.run(1), NumericalError);
}

TEST_CASE("what the engine does not hold is refused with the reason", "[engine][errors]") {
  const Decoder decoder = tiny_decoder();
  Decoder low = decoder, experts = decoder;
  low.layers[1].attention = LowRankKvWeights{};
  experts.layers[0].experts = Experts{};
  CHECK_THROWS_WITH(DecodeEngine(low, references(), {4}), Catch::Contains("layer 1 rebuilds its keys"));
  CHECK_THROWS_WITH(DecodeEngine(experts, references(), {4}), Catch::Contains("layer 0 has experts"));
  const auto reason = [&](const CacheFormat& format) { return why_not_held(decoder, format).value_or(""); };
  CHECK_THAT(reason(parse_cache_format("bf16")), Catch::Contains("another dtype"));
  CHECK_THAT(reason(parse_cache_format("int2")), Catch::Contains("8 or 4 bits"));
  CHECK_THAT(reason(integers(8, 6, 4)), Catch::Contains("no multiple of the group"));
  CHECK(reason(integers(8, 4, 4)).empty());
}

TEST_CASE("on the CPU LibTorch decodes unless the engine is asked for, and integers that are not the rule's are not its", "[engine]") {
  const Decoder decoder = tiny_decoder(), latent = latent_decoder({.heads = 4, .groups = 2}, {.rank = 24});
  for (const DecodePath path : {DecodePath::automatic, DecodePath::libtorch}) {
    const DecodeWay way = decode_way(path, decoder, {}, true);
    CHECK(std::string(way.name()) == "libtorch");
    CHECK(way.reason.empty());  // it is what was asked for
  }
  CHECK(std::string(decode_way(DecodePath::engine, decoder, {}, true).name()) == "engine");
  CHECK(decode_way(DecodePath::engine, latent, integers(8, 8, 3), false).engine);
  CHECK_THROWS_WITH(decode_way(DecodePath::engine, latent, integers(8, 8, 3), true), Catch::Contains("rope keys") && Catch::Contains("int8-g8-r3-token-quanto"));
  CHECK(parse_decode_path("engine") == DecodePath::engine);
  CHECK_THROWS_WITH(parse_decode_path("libtorsch"), Catch::Contains("libtorch"));
}

namespace {

// Counts what ATen allocates, but for the few bytes of numbers that become tensors.
class CountedAllocator : public c10::Allocator {
 public:
  explicit CountedAllocator(c10::Allocator& below) : below_(below) {}
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes > 64) ++large;
    return below_.allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return below_.raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { below_.copy_data(to, from, bytes); }
  int64_t large = 0;

 private:
  c10::Allocator& below_;
};

}  // namespace

TEST_CASE("a step allocates nothing, so that a graph of it may be launched again", "[engine]") {
  for (const NamedModel& model : models()) {
    INFO(model.name);
    DecodeEngine engine(model.decoder, references(), {20, 20});
    KvCache none;
    engine.adopt(0, none, tiny_ids(2, 20, model.decoder.config.vocab_size));
    engine.run(1);
    c10::Allocator* before = c10::GetCPUAllocator();
    CountedAllocator counted(*before);
    c10::SetCPUAllocator(&counted, 1);
    engine.run(8);
    c10::SetCPUAllocator(before, 1);
    CHECK(counted.large == 0);
  }
}

TEST_CASE("on the card the engine is taken where it holds the model, else LibTorch with the reason", "[engine][card]") {
  if (no_card()) return;
  const Decoder there = moved(tiny_decoder(), *found_card().device, at::kFloat);
  CHECK(decode_way(DecodePath::automatic, there, {}, true).engine);
  const DecodeWay other = decode_way(DecodePath::automatic, there, parse_cache_format("int2"), true);
  CHECK_FALSE(other.engine);
  CHECK_THAT(other.reason, Catch::Contains("8 or 4 bits"));
  CHECK(decode_way(DecodePath::libtorch, there, parse_cache_format("int2"), true).reason.empty());
}

TEST_CASE("the engine decodes as the decoder does, on the card, with a graph and without", "[engine][card]") {
  if (no_card()) return;
  const at::Device device = *found_card().device;
  for (const NamedModel& model : models()) {
    INFO(model.name);
    const NamedModel there{model.name, moved(model.decoder, device, at::kFloat)};
    check_model(there, engine_machine(device), kFp32Reordering);
    const std::vector<at::Tensor> prompts = drawn_prompts(kRagged, model.decoder.config.vocab_size);
    const Continuations launched = by_engine(there.decoder, engine_machine(device), prompts, 6, {.graph = false}), graph = by_engine(there.decoder, engine_machine(device), prompts, 6);
    CHECK(launched.ids == graph.ids);
  }
  const TinyShape shape{.heads = 4, .groups = 2, .head_dim = 16};
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    check_model({"grouped", moved(tiny_decoder(shape), device, dtype)}, engine_machine(device), kBf16Steps);
    check_model({"latent 32+16", moved(latent_decoder(shape, {.rank = 32, .rope = 16, .nope = 16, .v = 16}), device, dtype)}, engine_machine(device), kBf16Steps);
  }
  check_model({"integers", moved(tiny_decoder({.heads = 6, .groups = 3}), device, at::kFloat)}, engine_machine(device), kFp32Reordering, integers(4, 8, 3));
}
