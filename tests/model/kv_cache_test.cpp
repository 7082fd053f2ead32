// Caches in other dtypes and as integers: when tokens are quantised, what is read back, what it weighs, what models make of it.
#include "core/base/error.h"
#include "core/model/generation.h"
#include "eval/batch_generation.h"
#include "eval/cached_model.h"
#include "methods/convert.h"
#include "tests/model/drawn_rows.h"
#include "tests/support/catch.h"
#include "tests/support/smollm2.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

CacheFormat integers(int bits, int64_t group, int64_t residual, QuantAxis axis = QuantAxis::token) {
  CacheFormat format;
  format.quant = QuantFormat{.bits = bits, .group = group, .axis = axis};
  format.residual = residual;
  return format;
}

// Original (0), latent (1) and low-rank (2) form of one tiny model.
Decoder tiny_form(int form) {
  const Decoder original = tiny_decoder();
  if (form == 0) return original;
  const Recipe recipe = form == 1 ? find_recipe("transmla").make({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}}, original.config)
                                  : find_recipe("svd").make({{"cache_values", 16}}, original.config);
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  return convert(original, recipe, [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); }).converted;
}

at::Tensor one_by_one(const Decoder& model, const at::Tensor& ids, KvCache& cache) {
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache));
  return at::cat(hidden, 1);
}

std::vector<int32_t> some_ids(int64_t count, uint64_t seed) {
  const at::Tensor ids = tiny_ids(1, count, 26, seed)[0];
  std::vector<int32_t> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(static_cast<int32_t>(ids[i].item<int64_t>()));
  return all;
}

constexpr double kEightBits = 0.02;  // half of 1/255 of a group's range in every key, whose scores are exponentiated, through two layers

}  // namespace

TEST_CASE("under the window rule tokens one by one are kept as tokens at once", "[kv_cache][window]") {
  const QuantAxis axis = GENERATE(QuantAxis::token, QuantAxis::channel);
  const QuantRule rule = GENERATE(QuantRule::quanto, QuantRule::hqq);
  CacheFormat format = integers(4, 8, 5, axis);
  format.quant->rule = rule;
  const at::Tensor x = tiny_inputs(2, 30, 20, 1), y = tiny_inputs(2, 30, 9, 2);
  LayerCache at_once(format), stepwise(format);
  at_once.extend(x, y);
  for (int64_t t = 0; t < 30; ++t) {
    stepwise.extend(x.narrow(1, t, 1), y.narrow(1, t, 1));
    const int64_t old = std::max<int64_t>(0, t + 1 - 5);
    CHECK(stepwise.quantised_tokens() == (axis == QuantAxis::token ? old : old / 8 * 8));
  }

  const LayerCache::Streams a = at_once.read(), b = stepwise.read();
  CHECK(at::equal(a.first, b.first));
  CHECK(at::equal(a.second, b.second));
  CHECK(at_once.bytes() == stepwise.bytes());
  const int64_t old = at_once.quantised_tokens();
  CHECK(at::equal(a.first.narrow(1, old, 30 - old), x.narrow(1, old, 30 - old)));  // the window is untouched
  CHECK_FALSE(at::equal(a.first.narrow(1, 0, old), x.narrow(1, 0, old)));
}

TEST_CASE("new tokens see each other in full precision and the past as the cache gives it back", "[kv_cache][window]") {
  const CacheFormat format = integers(2, 4, 3);
  const at::Tensor x = tiny_inputs(1, 14, 8, 1);
  LayerCache cache(format);
  CHECK(at::equal(cache.extend(x.narrow(1, 0, 9), x.narrow(1, 0, 9)).first, x.narrow(1, 0, 9)));
  const at::Tensor before = cache.read().first, seen = cache.extend(x.narrow(1, 9, 5), x.narrow(1, 9, 5)).first;
  CHECK(at::equal(seen, at::cat({before, x.narrow(1, 9, 5)}, 1)));
  CHECK(max_relative_error(before.narrow(1, 0, 6), x.narrow(1, 0, 6)) > 0.01);
}

TEST_CASE("bytes equal a count by hand, and an empty cache has none", "[kv_cache][bytes]") {
  LayerCache cache(integers(4, 64, 10));
  CHECK(cache.bytes() == 0);
  CHECK(cache.length() == 0);
  CHECK_FALSE(cache.read().first.defined());
  cache.extend(tiny_inputs(1, 50, 192, 1), tiny_inputs(1, 50, 33, 2));
  CHECK(cache.values_per_token() == 225);
  // 40 tokens of 96 bytes and 3 groups, 17 bytes and one group, two fp16 numbers a group; 10 tokens in fp32.
  CHECK(cache.bytes() == 40 * (96 + 3 * 4 + 17 + 4) + 10 * 225 * 4);
  CHECK(KvCache{}.bytes() == 0);

  CacheFormat narrow;
  narrow.dtype = at::kBFloat16;
  LayerCache halves(narrow);
  halves.extend(tiny_inputs(1, 7, 10, 1), tiny_inputs(1, 7, 3, 2));
  CHECK(halves.bytes() == 7 * 13 * 2);
  CHECK(halves.read().first.scalar_type() == at::kFloat);
  CHECK(at::equal(halves.read().first, tiny_inputs(1, 7, 10, 1).to(at::kBFloat16).to(at::kFloat)));
}

TEST_CASE("transformers' schedule shows attention what its quantised cache shows", "[kv_cache][oracle]") {
  const Json golden_schedule = read_json_file(golden("kv_cache.json")).at("schedule");
  CacheFormat format = integers(4, golden_schedule["group"], golden_schedule["residual"]);
  format.rule = ResidualRule::transformers;
  format.quant->scales = at::kFloat;
  const int64_t tokens = golden_schedule["tokens"], width = golden_schedule["width"], prompt = golden_schedule["prompt"];
  const at::Tensor keys = drawn_rows(7, tokens, width), values = drawn_rows(8, tokens, width);
  LayerCache cache(format);
  cache.extend(keys.narrow(1, 0, prompt), values.narrow(1, 0, prompt));
  CHECK(cache.quantised_tokens() == prompt);
  int compared = 0;
  for (int64_t t = prompt; t < tokens; ++t) {
    const LayerCache::Streams seen = cache.extend(keys.narrow(1, t, 1), values.narrow(1, t, 1));
    if (!golden_schedule["seen"].contains(std::to_string(t + 1))) continue;
    const Json& wanted = golden_schedule["seen"][std::to_string(t + 1)];
    const auto list = [](const Json& numbers) { return at::tensor(numbers.get<std::vector<double>>(), at::kDouble); };
    CHECK(max_relative_error(seen.first.flatten(), list(wanted["keys"])) < 1e-5);  // there the past is rounded again with each lump
    CHECK(max_relative_error(seen.second.flatten(), list(wanted["values"])) < 1e-5);
    ++compared;
  }
  CHECK(compared == 3);
}

TEST_CASE("eight bits change little and two bits more, in every form, for several sequences and for packed ones", "[kv_cache][model]") {
  const Decoder model = tiny_form(GENERATE(0, 1, 2));
  const QuantAxis axis = GENERATE(QuantAxis::token, QuantAxis::channel);
  const at::Tensor ids = tiny_ids(3, 40, model.config.vocab_size), wanted = model.last_hidden(ids);
  const auto error = [&](int bits) {
    KvCache cache{{}, integers(bits, 8, 4, axis)};
    const double worst = max_relative_error(one_by_one(model, ids, cache), wanted);
    CHECK(cache.layers.front().quantised_tokens() == (axis == QuantAxis::token ? 36 : 32));
    return worst;
  };
  const double eight = error(8), two = error(2);
  CHECK(eight > 0);
  CHECK(eight < kEightBits);
  CHECK(two > 3 * eight);

  // Packed: one sequence in its own cache gives what it gives alone, and a shared beginning is read back from the same integers.
  const auto from = [](int64_t start, int64_t count) { return at::arange(start, start + count, at::TensorOptions(at::kLong)); };
  const CacheFormat format = integers(4, 8, 4, axis);
  KvCache alone{{}, format}, first{{}, format}, second{{}, format};
  model.last_hidden(ids.narrow(0, 0, 1).narrow(1, 0, 30), &alone);
  model.packed_hidden(at::cat({ids[0].narrow(0, 0, 30), ids[1].narrow(0, 0, 20)}), {{from(0, 30), {}, &first}, {from(0, 20), {}, &second}});
  const at::Tensor next = ids[0].narrow(0, 30, 1);
  const at::Tensor by_prefix = model.packed_hidden(next, {{from(30, 1), {}, nullptr, &first}});
  const at::Tensor by_cache = model.packed_hidden(next, {{from(30, 1), {}, &first}}), by_itself = model.last_hidden(next.unsqueeze(0), &alone)[0];
  CHECK(max_relative_error(by_cache, by_itself) < kFp32Reordering);
  CHECK(max_relative_error(by_prefix, by_itself) < kFp32Reordering);
  CHECK(max_relative_error(by_itself, wanted[0].narrow(0, 30, 1)) > 10 * kFp32Reordering);
}

TEST_CASE("a model read through a cache gives what decoding gives, and its own dtype gives what one forward gives", "[kv_cache][model]") {
  const Decoder model = tiny_form(GENERATE(0, 1, 2));
  const at::Tensor ids = tiny_ids(2, 21, model.config.vocab_size);
  CachedModel own(model, {}), rough(model, integers(4, 8, 6));
  CHECK(max_relative_error(own.last_hidden(ids), model.last_hidden(ids)) < kFp32Reordering);
  KvCache cache{{}, integers(4, 8, 6)};
  CHECK(at::equal(rough.last_hidden(ids), one_by_one(model, ids, cache)));
  CHECK(rough.cache_bytes_per_token() == Approx(static_cast<double>(cache.bytes()) / 42));
  CHECK(rough.cache_bytes_per_token() < own.cache_bytes_per_token());

  const auto from = [](int64_t count) { return at::arange(count, at::TensorOptions(at::kLong)); };
  const at::Tensor packed = rough.packed_hidden(at::cat({ids[0], ids[1].narrow(0, 0, 9)}), {{from(21)}, {from(9)}});
  CHECK(max_relative_error(packed.narrow(0, 0, 21), rough.last_hidden(ids.narrow(0, 0, 1))[0]) < kFp32Reordering);
  CHECK_THROWS_AS(rough.packed_hidden(ids[0], {{from(21), at::zeros({21, 21})}}), ShapeError);
}

TEST_CASE("groups generate with integers what each prompt generates alone, and count the cache's bytes", "[kv_cache][generation]") {
  const Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  const Tokenizer tokenizer = letter_tokenizer();
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 5; ++i) requests.push_back({some_ids(9 + static_cast<int64_t>(i), i), 8, 0, {}, {}});
  for (const int64_t batch : {1, 4}) {
    BatchOptions options{.batch = batch};
    options.cache = integers(4, 8, 3);
    std::size_t compared = 0;
    generate_batches(model, tokenizer, requests, options, [&](const std::vector<Generated>& group) {
      for (const Generated& one : group) {
        KvCache cache{{}, options.cache};
        CHECK(one.ids == generate(decoder, requests[one.request].prompt, {.max_new_tokens = 8, .cache = &cache}));
        CHECK(one.cache_tokens == cache.length());
        CHECK(one.cache_bytes == cache.bytes());
        ++compared;
      }
    });
    CHECK(compared == requests.size());
  }
}

TEST_CASE("names of caches tell them apart and unknown ones are refused with the nearest", "[kv_cache][errors]") {
  CHECK(cache_format_name({}).empty());
  CHECK(cache_format_name(parse_cache_format("bf16")) == "bf16");
  CHECK(cache_format_name(integers(4, 64, 128)) == "int4-g64-r128-token-quanto");
  CHECK_THROWS_WITH(parse_cache_format("int5"), Catch::Contains("int4"));
}

TEST_CASE("the real model writes the same 32 tokens with an int8 cache", "[kv_cache][smollm2]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const std::vector<int32_t> prompt = real->tokenizer->encode("The history of the city begins in the twelfth century, when merchants from the coast");
  KvCache own, bytes{{}, integers(8, 64, 8)};
  const std::vector<int32_t> wanted = generate(real->decoder, prompt, {.max_new_tokens = 32, .cache = &own});
  CHECK(wanted.size() == 32);
  CHECK(generate(real->decoder, prompt, {.max_new_tokens = 32, .cache = &bytes}) == wanted);
  CHECK(bytes.layers.front().quantised_tokens() == own.length() - 8);
  CHECK(bytes.bytes() < own.bytes() / 2);
}
