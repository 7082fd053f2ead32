// What a benchmark runs: that the clock covers what it says, that the cache holds what was read, that room changes no number.
#include "eval/throughput.h"

#include "core/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr int64_t kValues = 2 * 2 * 8;  // keys and values of 2 groups of 8 in the tiny model

}  // namespace

TEST_CASE("a repetition leaves depth, prompt and what was generated in the cache, of every sequence", "[throughput]") {
  const Decoder decoder = tiny_decoder();
  Throughput load(decoder, {.prompt = 5, .generated = 3, .depth = 7, .sequences = 2, .chunk = 4});
  load.warm_up();

  const Throughput::Sample first = load.run(), second = load.run();

  CHECK(first.cache_tokens == 2 * (7 + 5 + 3));
  CHECK(first.cache_bytes == first.cache_tokens * kValues * 4 * 2);  // fp32, 2 layers
  CHECK(second.cache_tokens == first.cache_tokens);
  CHECK(first.seconds > 0);
}

TEST_CASE("a cache with room for all gives the bits of one that grows, and copies nothing while it fills", "[throughput]") {
  const Decoder decoder = tiny_decoder();
  const at::Tensor ids = tiny_ids(2, 24, 50);
  KvCache growing, roomy{{}, {.room = 24}};
  const auto read = [&](KvCache& cache, int64_t from, int64_t count) { return decoder.last_hidden(ids.narrow(1, from, count), &cache); };

  const bool same_prompt = at::equal(read(growing, 0, 9), read(roomy, 0, 9));
  const void* where = roomy.layers[0].read().first.const_data_ptr();
  bool same = same_prompt;
  for (int64_t t = 9; t < 24; ++t) same = at::equal(read(growing, t, 1), read(roomy, t, 1)) && same;

  CHECK(same);
  CHECK(roomy.layers[0].read().first.const_data_ptr() == where);
  CHECK(roomy.bytes() == growing.bytes());
}

TEST_CASE("a copy of a deep cache starts from the depth again, whatever the first wrote behind it", "[throughput]") {
  const Decoder decoder = tiny_decoder();
  const at::Tensor ids = tiny_ids(1, 12, 50);
  KvCache deep{{}, {.room = 12}};
  decoder.last_hidden(ids.narrow(1, 0, 8), &deep);

  KvCache once = deep;
  const at::Tensor first = decoder.last_hidden(ids.narrow(1, 8, 4), &once);
  KvCache again = deep;
  decoder.last_hidden(tiny_ids(1, 4, 50, 3), &again);  // other tokens over the same room
  KvCache third = deep;

  CHECK(at::equal(decoder.last_hidden(ids.narrow(1, 8, 4), &third), first));
}

TEST_CASE("tokens that go through the decode engine leave the cache that the decoder leaves", "[throughput][engine]") {
  const Decoder decoder = tiny_decoder();
  const EngineMachine machine = engine_machine(at::kCPU);
  for (const ThroughputLoad& load : {ThroughputLoad{.generated = 9, .depth = 7, .sequences = 3, .chunk = 8}, ThroughputLoad{.prompt = 5, .generated = 3, .depth = 7, .sequences = 3, .chunk = 8},
                                     ThroughputLoad{.prompt = 5, .generated = 3, .sequences = 3, .chunk = 11}, ThroughputLoad{.generated = 4}, ThroughputLoad{.prompt = 5, .sequences = 2}}) {
    INFO("prompt " << load.prompt << ", generated " << load.generated << ", depth " << load.depth);
    Throughput by_decoder(decoder, load), by_engine(decoder, load, machine);
    by_engine.warm_up();
    const Throughput::Sample wanted = by_decoder.run(), first = by_engine.run(), second = by_engine.run();
    CHECK(first.cache_tokens == wanted.cache_tokens);
    CHECK(first.cache_bytes == wanted.cache_bytes);
    CHECK(second.cache_bytes == wanted.cache_bytes);
    if (load.generated > 0) CHECK(std::isfinite(by_engine.seconds_per_step()));
  }
}

TEST_CASE("generation reads all weights once a step and the cache of each step", "[throughput]") {
  const Decoder decoder = tiny_decoder();  // its head is its embedding
  const double weights = static_cast<double>(decoder.parameters()) * 4;
  CHECK(weight_bytes(decoder) == static_cast<int64_t>(weights));
  CHECK(generation_bytes(decoder, {.generated = 3, .depth = 10, .sequences = 2}, 100) == 3 * weights + 2 * (11 + 12 + 13) * 100);

  Decoder untied = decoder;
  untied.head = decoder.head.clone();  // then the embedding is looked up and the head is read
  CHECK(generation_bytes(untied, {.generated = 1}, 0) == weights);
}

TEST_CASE("copies have a speed, and a load without a token is refused", "[throughput][errors]") {
  CHECK(copy_bandwidth(at::kCPU) > 1e8);
  const Decoder decoder = tiny_decoder();
  CHECK_THROWS_AS(Throughput(decoder, {.prompt = 0, .generated = 0}), ConfigError);
  CHECK_THROWS_AS(Throughput(decoder, {.prompt = 1, .sequences = 0}), ConfigError);
}
