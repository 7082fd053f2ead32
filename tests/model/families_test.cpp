// Every family against transformers, and every family against itself: caches, packed sequences, folders of our own.
#include <cmath>

#include "tests/support/catch.h"

#include "core/base/error.h"
#include "core/model/generation.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

at::Tensor prompt_of(const std::string& name) {
  return at::tensor(family_golden(name)["prompt"].get<std::vector<int64_t>>(), at::kLong).unsqueeze(0);
}

// Largest difference from a golden's sample of one row of logits.
double difference(const at::Tensor& logits, const Json& sample, int64_t every) {
  double largest = 0;
  for (std::size_t i = 0; i < sample.size(); ++i)
    largest = std::max(largest, std::abs(logits[static_cast<int64_t>(i) * every].item<double>() - sample[i].get<double>()));
  return largest;
}

at::Tensor one_by_one(const Decoder& model, const at::Tensor& ids, CacheFormat format = {}) {
  KvCache cache;
  cache.format = std::move(format);
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache));
  return at::cat(hidden, 1);
}

}  // namespace

TEST_CASE("every family's logits are those of transformers, over a prompt and twenty greedy steps", "[families][golden]") {
  REQUIRE(family_names().size() >= 15);
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  const Json& golden = family_golden(name);
  const Decoder model = family_model(name);
  const double largest = golden["largest"];
  const int64_t every = golden["every"];

  KvCache cache;
  at::Tensor logits = model.logits(model.last_hidden(prompt_of(name), &cache))[0];
  CHECK(std::abs(logits.abs().max().item<double>() - largest) < kOtherProgram * largest);
  for (std::size_t i = 0; i < golden["positions"].size(); ++i)
    CHECK(difference(logits[golden["positions"][i].get<int64_t>()], golden["prompt_logits"][i], every) < kOtherProgram * largest);

  REQUIRE(golden["greedy"].size() == 20);
  for (std::size_t step = 0; step < golden["greedy"].size(); ++step) {
    const auto next = logits[-1].argmax().item<int64_t>();
    INFO("step " << step);
    REQUIRE(next == golden["greedy"][step].get<int64_t>());
    logits = model.logits(model.last_hidden(at::full({1, 1}, next, at::kLong), &cache))[0];
    CHECK(difference(logits[0], golden["step_logits"][step], every) < kOtherProgram * largest);
  }
}

TEST_CASE("a family's features change its logits: the goldens would show one that is left out", "[families]") {
  struct Case {
    const char* name;
    void (*without)(Decoder&);
  };
  const auto attention = [](Decoder& d, auto change) {
    for (DecoderLayer& layer : d.layers) std::visit(change, layer.attention);
  };
  static const auto each = attention;
  for (const Case& c : std::vector<Case>{
           {"mistral", [](Decoder& d) { each(d, [](auto& w) { w.limits.window = 0; }); }},
           {"qwen2", [](Decoder& d) { each(d, [](auto& w) { w.limits.window = 0; }); }},
           {"gemma2", [](Decoder& d) { each(d, [](auto& w) { w.limits.softcap = 0; }); }},
           {"gemma2", [](Decoder& d) { each(d, [](auto& w) { w.limits.window = 0; }); }},
           {"gemma2", [](Decoder& d) { d.config.logit_softcap = 0; }},
           {"gemma2", [](Decoder& d) { d.layers[1].mlp_post_norm = at::Tensor(); }},
           {"gemma", [](Decoder& d) { d.config.embedding_scale = 1; }},
           {"gemma", [](Decoder& d) { d.config.activation = Activation::silu; }},
           {"llama_dynamic", [](Decoder& d) { each(d, [](auto& w) { w.rope.short_length = 0; }); }},
           {"llama_yarn", [](Decoder& d) { each(d, [](auto& w) { w.rope.attention_factor = 1; }); }},
           {"phi3", [](Decoder& d) { each(d, [](auto& w) { w.rope.short_length = 0; }); }},
           {"mixtral", [](Decoder& d) { d.layers[0].experts->per_token = 1; }}}) {
    INFO(c.name);
    const Decoder model = family_model(c.name);
    Decoder changed = model;
    c.without(changed);
    const at::Tensor ids = tiny_ids(1, 58, model.config.vocab_size);
    CHECK(max_relative_error(changed.logits(changed.last_hidden(ids)), model.logits(model.last_hidden(ids))) > 10 * kOtherProgram);
  }
}

TEST_CASE("families give token after token what they give at once, through plain and quantised caches", "[families][identity]") {
  const std::string name = GENERATE(as<std::string>{}, "mistral", "qwen2", "gemma2", "mixtral", "qwen3", "deepseek_v2");
  INFO(name);
  const Decoder model = family_model(name);
  const at::Tensor ids = tiny_ids(2, 30, model.config.vocab_size), whole = model.last_hidden(ids);

  CHECK(max_relative_error(one_by_one(model, ids), whole) < kFp32Reordering);

  CacheFormat exact;  // tokens are kept in fp32, by the way that quantised ones take
  exact.dtype = at::kFloat;
  CHECK(max_relative_error(one_by_one(model, ids, exact), whole) < kFp32Reordering);
  CacheFormat eight = parse_cache_format("int8");
  eight.residual = 4;
  CHECK(max_relative_error(one_by_one(model, ids, eight), whole) < 0.1);  // half a step of 1/255 of each group's range, through three layers
}

TEST_CASE("packed sequences of a family give what each gives alone, whatever its windows and soft-caps", "[families][packed][identity]") {
  const std::string name = GENERATE(as<std::string>{}, "mistral", "qwen2", "gemma2", "phi3", "llama_dynamic", "deepseek_v3");
  INFO(name);
  const Decoder model = family_model(name);
  const int64_t vocab = model.config.vocab_size;
  const at::Tensor a = tiny_ids(1, 19, vocab, 1)[0], b = tiny_ids(1, 15, vocab, 2)[0], end = tiny_ids(1, 4, vocab, 3)[0], other = tiny_ids(1, 3, vocab, 4)[0];
  const auto alone = [&](const at::Tensor& ids) { return model.last_hidden(ids.unsqueeze(0))[0]; };
  const auto from = [](int64_t start, int64_t count) { return at::arange(start, start + count, at::TensorOptions(at::kLong)); };

  // [a, then end or other], and b by itself.
  at::Tensor mask = at::full({26, 26}, -std::numeric_limits<float>::infinity()).triu_(1);
  mask.narrow(0, 23, 3).narrow(1, 19, 4).fill_(-std::numeric_limits<float>::infinity());
  const at::Tensor packed = model.packed_hidden(at::cat({a, end, other, b}), {{at::cat({from(0, 23), from(19, 3)}), mask, nullptr}, {from(0, 15), {}, nullptr}});
  CHECK(max_relative_error(packed.narrow(0, 0, 23), alone(at::cat({a, end}))) < kFp32Reordering);
  CHECK(max_relative_error(packed.narrow(0, 23, 3), alone(at::cat({a, other})).narrow(0, 19, 3)) < kFp32Reordering);
  CHECK(max_relative_error(packed.narrow(0, 26, 15), alone(b)) < kFp32Reordering);

  // The same end behind a prefix that others may follow, and behind a cache that it joins.
  KvCache prefix;
  model.packed_hidden(a, {{from(0, 19), {}, &prefix}});
  Segment behind{from(19, 4), {}, nullptr};
  behind.prefix = &prefix;
  const at::Tensor wanted = alone(at::cat({a, end})).narrow(0, 19, 4);
  CHECK(max_relative_error(model.packed_hidden(end, {behind}), wanted) < kFp32Reordering);
  CHECK(max_relative_error(model.packed_hidden(end, {{from(19, 4), {}, &prefix}}), wanted) < kFp32Reordering);
}

TEST_CASE("bf16 runs through every family and stays near fp32", "[families][dtype]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  const TemporaryFolder folder;
  write_family(name, folder / "model");
  const Decoder narrow = load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kBFloat16);
  const at::Tensor ids = prompt_of(name);
  // Eight bits of mantissa through three layers; a mixture may choose another expert where two are nearly as good.
  CHECK(mean_kl(family_model(name).logits(family_model(name).last_hidden(ids)), narrow.logits(narrow.last_hidden(ids))) < (name == "mixtral" ? 0.2 : 0.02));
}

TEST_CASE("a family's model written to a folder of ours reads back bit for bit", "[families][io]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  const TemporaryFolder folder;
  const Decoder model = family_model(name);

  save_decoder(model, "{}", {{"method", "none"}}, folder / "model");
  const Decoder read = load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat);

  const at::Tensor ids = tiny_ids(1, 58, model.config.vocab_size);
  CHECK(at::equal(read.logits(read.last_hidden(ids)), model.logits(model.last_hidden(ids))));
  CHECK(read.parameters() == model.parameters());
  CHECK(read.config.architecture == model.config.architecture);
}
