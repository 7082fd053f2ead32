// One prompt continued through both ways: the same tokens as they come, the same end, the same bytes of cache.
#include "core/base/error.h"
#include "core/engine/prompt_continuation.h"
#include "core/model/generation.h"
#include "tests/engine/engine_models.h"
#include "tests/support/catch.h"
#include "tests/support/smollm2.h"

using namespace mla;
using namespace mla::test;

namespace {

struct Seen {
  PromptContinuation whole;
  std::vector<int32_t> streamed;
};

Seen continued(const Decoder& decoder, DecodePath path, const std::vector<int32_t>& prompt, const PromptOptions& options, std::size_t enough = SIZE_MAX) {
  Seen seen;
  seen.whole = continue_prompt(decoder, decode_way(path, decoder, options.cache, true), prompt, options, [&](int32_t id) {
    seen.streamed.push_back(id);
    return seen.streamed.size() < enough;
  });
  return seen;
}

void check_both(const Decoder& decoder, const std::vector<int32_t>& prompt, PromptOptions options, std::size_t enough = SIZE_MAX) {
  const Seen wanted = continued(decoder, DecodePath::libtorch, prompt, options, enough);
  for (const int64_t steps : {1, 5, 64}) {
    INFO(steps << " steps at a time");
    options.steps = steps;
    const Seen got = continued(decoder, DecodePath::engine, prompt, options, enough);
    CHECK(got.whole.ids == wanted.whole.ids);
    CHECK(got.streamed == wanted.streamed);
    CHECK(got.whole.cache_tokens == wanted.whole.cache_tokens);
    CHECK(got.whole.cache_bytes == wanted.whole.cache_bytes);
  }
}

CacheFormat eight_bits() {
  CacheFormat format;
  format.quant = QuantFormat{.bits = 8, .group = 8};
  format.residual = 4;
  return format;
}

const std::vector<int32_t> kPrompt{3, 1, 4, 1, 5, 9, 2};

}  // namespace

TEST_CASE("a prompt goes on as LibTorch has it, whatever the form and the steps at a time", "[engine][generation]") {
  const Decoder grouped = tiny_decoder({.heads = 6, .groups = 3}), latent = latent_decoder({.heads = 4, .groups = 2}, {});
  for (const Decoder* decoder : {&grouped, &latent}) check_both(*decoder, kPrompt, {.max_new_tokens = 70});  // past a page of 64
  check_both(grouped, kPrompt, {.max_new_tokens = 1});
  check_both(grouped, kPrompt, {.max_new_tokens = 30, .cache = eight_bits()});
}

TEST_CASE("a stop id ends it before that token, a watcher behind the one it saw", "[engine][generation]") {
  const Decoder decoder = tiny_decoder();
  const std::vector<int32_t> plain = generate(decoder, kPrompt, {.max_new_tokens = 12});
  for (const std::size_t place : {std::size_t{0}, std::size_t{7}}) {
    check_both(decoder, kPrompt, {.max_new_tokens = 12, .stop_ids = {-1, plain[place]}});
    check_both(decoder, kPrompt, {.max_new_tokens = 12}, place + 1);
  }
  const Seen stopped = continued(decoder, DecodePath::engine, kPrompt, {.max_new_tokens = 12, .stop_ids = {plain[0]}});
  CHECK(stopped.whole.ids.empty());
  CHECK(stopped.whole.cache_tokens == static_cast<int64_t>(kPrompt.size()));
}

TEST_CASE("the demo's model and a conversion of it say the same through both ways", "[engine][generation]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const std::vector<int32_t> prompt = real->tokenizer->encode("The capital of France is");
  const PromptOptions options{.max_new_tokens = 12, .stop_ids = real->tokenizer->stop_ids()};
  check_both(real->decoder, prompt, options);
  check_both(convert_real(*real, "svd", {{"form", "latent"}, {"split", "high"}, {"rope_dim", 32}, {"kv_lora_rank", 256}}).converted, prompt, options);
}

TEST_CASE("a prompt goes on as LibTorch has it, on the card", "[engine][generation][card]") {
  std::optional<at::Device> device;
  try {
    device = parse_device("cuda");
    engine_machine(*device);
  } catch (const Error& error) {
    return skip(error.what());
  }
  const Decoder grouped = tiny_decoder({.heads = 6, .groups = 3}), latent = latent_decoder({.heads = 4, .groups = 2}, {});
  for (const Decoder* decoder : {&grouped, &latent}) check_both(moved(*decoder, *device, at::kFloat), kPrompt, {.max_new_tokens = 70});
}

TEST_CASE("nothing to go on from, and nothing to add, are refused", "[engine][generation][errors]") {
  const Decoder decoder = tiny_decoder();
  CHECK_THROWS_WITH(continue_prompt(decoder, {}, {}, {}), Catch::Contains("at least one token"));
  CHECK_THROWS_AS(continue_prompt(decoder, {}, kPrompt, {.max_new_tokens = 0}), ConfigError);
}

TEST_CASE("a record names the way, and the reason where there is one", "[engine]") {
  CHECK(decode_record("engine", "") == Json{{"way", "engine"}});
  CHECK(decode_record("libtorch", "layer 0 has experts") == Json{{"way", "libtorch"}, {"reason", "layer 0 has experts"}});
}
