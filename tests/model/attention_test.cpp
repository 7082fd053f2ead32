#include "tests/support/catch.h"

#include "core/base/error.h"
#include "core/model/attention.h"
#include "core/model/generation.h"
#include "methods/convert.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

// softmax(scale q k^T) v, one query at a time, in fp64.
at::Tensor attention_by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const int64_t share = q.size(2) / k.size(2), past = k.size(1) - q.size(1);
  at::Tensor out = at::zeros({q.size(0), q.size(1), q.size(2), v.size(3)}, at::kDouble);
  for (int64_t b = 0; b < q.size(0); ++b)
    for (int64_t t = 0; t < q.size(1); ++t)
      for (int64_t h = 0; h < q.size(2); ++h) {
        const at::Tensor keys = k[b].narrow(0, 0, past + t + 1).select(1, h / share).to(at::kDouble);
        const at::Tensor values = v[b].narrow(0, 0, past + t + 1).select(1, h / share).to(at::kDouble);
        out[b][t][h] = at::softmax(keys.matmul(q[b][t][h].to(at::kDouble)) * scale, 0).matmul(values);
      }
  return out;
}

Decoder converted_tiny(const char* method, const Json& options) {
  const Decoder original = tiny_decoder();
  const Recipe recipe = find_recipe(method).make(options, original.config);
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  return convert(original, recipe, [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); }).converted;
}

at::Tensor decode_one_by_one(const Decoder& model, const at::Tensor& ids, MlaPath path) {
  KvCache cache;
  cache.prepare(model.layers.size());
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache, path));
  return at::cat(hidden, 1);
}

}  // namespace

TEST_CASE("blocked attention equals its definition, with a past and with fewer key heads", "[model][attention]") {
  const at::Tensor q = tiny_inputs(2, 150 * 4, 6, 1).view({2, 150, 4, 6}), k = tiny_inputs(2, 160 * 2, 6, 2).view({2, 160, 2, 6});
  const at::Tensor v = tiny_inputs(2, 160 * 2, 5, 3).view({2, 160, 2, 5});

  const at::Tensor blocked = causal_attention(q, k, v, 0.4);

  CHECK(max_relative_error(blocked, attention_by_definition(q, k, v, 0.4)) < kFp32Reordering);
}

TEST_CASE("attention refuses shapes that do not fit and prints them", "[model][errors]") {
  const at::Tensor q = at::zeros({1, 4, 4, 6}), k = at::zeros({1, 4, 2, 8});
  CHECK_THROWS_AS(causal_attention(q, k, k, 1.0), ShapeError);
  CHECK_THROWS_WITH(attention_forward(tiny_gqa(), at::zeros({1, 3, 5})), Catch::Contains("wanted x [B,T,24]") && Catch::Contains("[1, 3, 5]"));
}

TEST_CASE("absorbed and expanded latent attention agree", "[model][identity]") {
  const auto options = GENERATE(Json{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}},
                                Json{{"freqfold", 2}, {"collapse", 2}, {"qk_mqa_dim", 4}, {"kv_lora_rank", 9}, {"q_lora_rank", 20}});
  const Decoder model = converted_tiny("transmla", options);
  const at::Tensor ids = tiny_ids(2, 33, model.config.vocab_size);

  const at::Tensor absorbed = model.last_hidden(ids, nullptr, MlaPath::absorbed);

  CHECK(max_relative_error(absorbed, model.last_hidden(ids, nullptr, MlaPath::expanded)) < kFp32Reordering);
}

TEST_CASE("absorbed and expanded agree with a rope key per KV head", "[model][identity]") {
  const Decoder model = converted_tiny("mha2mla", {{"rope_selection", "2-norm"}, {"rope_dim", 4}, {"svd", "joint"}, {"low_rank", 5}});
  const at::Tensor ids = tiny_ids(2, 33, model.config.vocab_size);

  const at::Tensor absorbed = model.last_hidden(ids, nullptr, MlaPath::absorbed);

  CHECK(max_relative_error(absorbed, model.last_hidden(ids, nullptr, MlaPath::expanded)) < kFp32Reordering);
}

TEST_CASE("a prompt at once equals token after token with the cache", "[model][identity]") {
  const Decoder original = tiny_decoder(), latent = converted_tiny("transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}});
  const at::Tensor ids = tiny_ids(2, 20, original.config.vocab_size);

  CHECK(max_relative_error(decode_one_by_one(original, ids, MlaPath::automatic), original.last_hidden(ids)) < kFp32Reordering);
  for (const MlaPath path : {MlaPath::absorbed, MlaPath::expanded})
    CHECK(max_relative_error(decode_one_by_one(latent, ids, path), latent.last_hidden(ids)) < kFp32Reordering);
}

TEST_CASE("the cache holds latent and rope key, and is counted from the cache itself", "[model][cache]") {
  CHECK(tiny_decoder().cache_values_per_token_per_layer() == 2 * 2 * 8);
  CHECK(converted_tiny("transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}}).cache_values_per_token_per_layer() == 12 + 8);
  CHECK(converted_tiny("mha2mla", {{"rope_dim", 4}, {"svd", "joint"}, {"low_rank", 5}}).cache_values_per_token_per_layer() == 2 * 5 + 2 * 4);
}

TEST_CASE("greedy generation follows the largest logit and stops before a stop id", "[model][generation]") {
  const Decoder model = tiny_decoder();
  const std::vector<int32_t> prompt{3, 1, 4}, free_run = generate(model, prompt, {.max_new_tokens = 6});
  std::vector<int64_t> all(prompt.begin(), prompt.end());
  for (const int32_t id : free_run) {
    const at::Tensor logits = model.logits(model.last_hidden(at::tensor(all, at::kLong).unsqueeze(0)))[0][-1];
    CHECK(logits.argmax().item<int64_t>() == id);
    all.push_back(id);
  }

  const std::vector<int32_t> stopped = generate(model, prompt, {.max_new_tokens = 6, .stop_ids = {free_run[2]}});

  REQUIRE(free_run.size() == 6);
  CHECK(stopped.size() <= 2);
}

TEST_CASE("bf16 and fp16 run through the same code and stay near fp32", "[model][dtype]") {
  const Decoder model = tiny_decoder();
  const at::Tensor ids = tiny_ids(1, 12, model.config.vocab_size), wanted = model.last_hidden(ids);
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    Decoder narrow = model;
    narrow.embedding = model.embedding.to(dtype);
    narrow.head = narrow.embedding;
    narrow.final_norm = model.final_norm.to(dtype);
    for (DecoderLayer& layer : narrow.layers) {
      layer.attention = to(layer.attention, at::kCPU, dtype);
      for (at::Tensor* t : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down}) *t = t->to(dtype);
    }
    CHECK(max_relative_error(narrow.last_hidden(ids), wanted) < 0.05);  // eight bits of mantissa through two layers
  }
}

TEST_CASE("packed sequences give what each gives alone, with and without a cache, and branches do not see each other", "[model][packed][identity]") {
  const Decoder original = tiny_decoder();
  const int form = GENERATE(0, 1, 2);
  const Decoder model = form == 0 ? original : form == 1 ? converted_tiny("transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}})
                                                       : converted_tiny("svd", {{"cache_values", 16}});
  const at::Tensor a = tiny_ids(1, 9, 50, 1)[0], b = tiny_ids(1, 5, 50, 2)[0], end = tiny_ids(1, 4, 50, 3)[0], other = tiny_ids(1, 3, 50, 4)[0];
  const auto alone = [&](const at::Tensor& ids) { return model.last_hidden(ids.unsqueeze(0))[0]; };
  const auto from = [](int64_t start, int64_t count) { return at::arange(start, start + count, at::TensorOptions(at::kLong)); };

  // [a, then end or other], and b by itself.
  at::Tensor mask = at::full({16, 16}, -std::numeric_limits<float>::infinity()).triu_(1);
  mask.narrow(0, 13, 3).narrow(1, 9, 4).fill_(-std::numeric_limits<float>::infinity());
  const Segment tree{at::cat({from(0, 13), from(9, 3)}), mask, nullptr}, plain{from(0, 5), {}, nullptr};
  const at::Tensor packed = model.packed_hidden(at::cat({a, end, other, b}), {tree, plain});
  CHECK(max_relative_error(packed.narrow(0, 0, 13), alone(at::cat({a, end}))) < kFp32Reordering);
  CHECK(max_relative_error(packed.narrow(0, 13, 3), alone(at::cat({a, other})).narrow(0, 9, 3)) < kFp32Reordering);
  CHECK(max_relative_error(packed.narrow(0, 16, 5), alone(b)) < kFp32Reordering);

  KvCache first, second;
  model.packed_hidden(at::cat({a, b}), {{from(0, 9), {}, &first}, {from(0, 5), {}, &second}});
  const at::Tensor next = model.packed_hidden(at::cat({end.narrow(0, 0, 1), other}), {{from(9, 1), {}, &first}, {from(5, 3), {}, &second}});
  CHECK(max_relative_error(next.narrow(0, 0, 1), alone(at::cat({a, end.narrow(0, 0, 1)})).narrow(0, 9, 1)) < kFp32Reordering);
  CHECK(max_relative_error(next.narrow(0, 1, 3), alone(at::cat({b, other})).narrow(0, 5, 3)) < kFp32Reordering);
  CHECK(first.length() == 10);
  CHECK(second.length() == 8);
}
