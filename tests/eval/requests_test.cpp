// Requests scored with shared beginnings, and generation in groups, against one sequence at a time.
#include "core/base/error.h"
#include "core/model/generation.h"
#include "eval/batch_generation.h"
#include "eval/continuations.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

std::vector<int32_t> random_ids(int64_t count, uint64_t seed) {
  const at::Tensor ids = tiny_ids(1, std::max<int64_t>(count, 1), 26, seed)[0];
  std::vector<int32_t> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(static_cast<int32_t>(ids[i].item<int64_t>()));
  return all;
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// log p of the continuation from all logits of one sequence, in fp64, and whether it is greedy.
std::pair<double, bool> by_definition(const Decoder& model, const TokenRequest& request, int64_t max_length) {
  std::vector<int32_t> all = joined(request.context, request.continuation);
  if (static_cast<int64_t>(all.size()) > max_length + 1) all.erase(all.begin(), all.end() - (max_length + 1));
  const at::Tensor ids = at::tensor(std::vector<int64_t>(all.begin(), all.end() - 1), at::kLong).unsqueeze(0);
  const at::Tensor log_p = at::log_softmax(model.logits(model.last_hidden(ids))[0].to(at::kDouble), -1);
  double sum = 0;
  bool greedy = true;
  for (std::size_t t = all.size() - request.continuation.size(); t < all.size(); ++t) {
    const at::Tensor row = log_p[static_cast<int64_t>(t) - 1];
    sum += row[all[t]].item<double>();
    greedy = greedy && row.argmax().item<int64_t>() == all[t];
  }
  return {sum, greedy};
}

// Items as tasks have them: four choices, one token each, varying contexts with one continuation, a single request.
std::vector<RequestItem> some_items(const std::vector<int32_t>& beginning) {
  std::vector<RequestItem> items;
  for (uint64_t i = 0; i < 7; ++i) {
    const std::vector<int32_t> context = joined(beginning, random_ids(5 + static_cast<int64_t>(i), 10 * i + 1));
    RequestItem choices, letters, contexts;
    for (uint64_t c = 0; c < 4; ++c) {
      choices.push_back({context, random_ids(2 + static_cast<int64_t>(c), 100 * i + c)});
      letters.push_back({context, {static_cast<int32_t>(c)}});
      contexts.push_back({joined(context, random_ids(2, 7 * c + i)), random_ids(3, 900 + i)});
    }
    items.insert(items.end(), {choices, letters, contexts, {choices.front()}});
  }
  return items;
}

std::vector<ItemScores> scored(const std::vector<LanguageModel*>& models, const std::vector<RequestItem>& items, const ContinuationOptions& options) {
  std::vector<ItemScores> all(items.size());
  score_continuations(models, items, options, [&](std::size_t first, const std::vector<ItemScores>& batch) {
    for (std::size_t i = 0; i < batch.size(); ++i) all[first + i] = batch[i];
  });
  return all;
}

}  // namespace

TEST_CASE("continuations score as each request alone does, whatever they share", "[eval][requests][oracle]") {
  const Decoder decoder = tiny_decoder();
  DecoderModel model(decoder);
  const int64_t max_length = GENERATE(200, 9);  // the second cuts the beginnings
  const std::vector<RequestItem> items = some_items(random_ids(GENERATE(0, 40), 5));
  const std::vector<ItemScores> all = scored({&model}, items, {.max_length = max_length, .batch_tokens = 90});
  for (std::size_t i = 0; i < items.size(); ++i)
    for (std::size_t r = 0; r < items[i].size(); ++r) {
      const auto [log_likelihood, greedy] = by_definition(decoder, items[i][r], max_length);
      INFO("item " << i << ", request " << r);
      CHECK(all[i][0][r].log_likelihood == Approx(log_likelihood).epsilon(1e-5));
      CHECK(all[i][0][r].greedy == greedy);
      CHECK(all[i][0][r].tokens == static_cast<int64_t>(items[i][r].continuation.size()));
    }
}

TEST_CASE("batches change no score, and a start in the middle gives the same bits", "[eval][requests]") {
  const Decoder decoder = tiny_decoder(), other = tiny_decoder({}, 8);
  DecoderModel model(decoder), second(other);
  const std::vector<RequestItem> items = some_items(random_ids(3, 5));
  const std::vector<ItemScores> one = scored({&model, &second}, items, {.max_length = 99, .batch_items = 1});
  const std::vector<ItemScores> eight = scored({&model, &second}, items, {.max_length = 99, .batch_items = 8});
  const std::vector<ItemScores> resumed = scored({&model, &second}, items, {.max_length = 99, .batch_items = 8, .start = 11});
  for (std::size_t i = 0; i < items.size(); ++i)
    for (std::size_t m = 0; m < 2; ++m)
      for (std::size_t r = 0; r < items[i].size(); ++r) {
        CHECK(eight[i][m][r].log_likelihood == Approx(one[i][m][r].log_likelihood).margin(1e-4));
        if (m == 0) CHECK(one[i][m][r].divergence == 0);
        else CHECK(one[i][m][r].divergence > 1e-4);
        if (i >= 11) CHECK(resumed[i][m][r].log_likelihood == eight[i][m][r].log_likelihood);
      }
  CHECK(resumed[7].empty());  // its batch was done
}

TEST_CASE("requests that cannot be scored are refused by number", "[eval][requests][errors]") {
  const Decoder decoder = tiny_decoder();
  DecoderModel model(decoder);
  CHECK_THROWS_WITH(scored({&model}, {{{{1}, {2}}}, {{{}, {2}}}}, {.max_length = 9}), Catch::Contains("item 1"));
  CHECK_THROWS_AS(scored({&model}, {{{{1}, {2, 3, 4}}}}, {.max_length = 2}), ConfigError);
  CHECK_THROWS_AS(scored({&model}, {{}}, {.max_length = 9}), ConfigError);
}

TEST_CASE("groups generate what each prompt gives alone", "[eval][generation][oracle]") {
  Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  const Tokenizer tokenizer = letter_tokenizer();
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 11; ++i)
    requests.push_back({random_ids(3 + static_cast<int64_t>((5 * i) % 11), i), 4 + static_cast<int64_t>(i % 5), 0, {}, {}});
  for (const int64_t batch : {1, 4}) {
    std::vector<Generated> all(requests.size());
    generate_batches(model, tokenizer, requests, {.batch = batch}, [&](const std::vector<Generated>& group) {
      for (const Generated& one : group) all[one.request] = one;
    });
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const std::vector<int32_t> wanted = generate(decoder, requests[i].prompt, {.max_new_tokens = requests[i].max_new_tokens});
      CHECK(all[i].ids == wanted);
      CHECK(all[i].text == tokenizer.decode(wanted));
    }
  }
}

TEST_CASE("generation ends before a stop string and at a stop id, and leaves finished groups out", "[eval][generation]") {
  Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  const Tokenizer tokenizer = letter_tokenizer();
  const std::vector<int32_t> prompt = random_ids(6, 3), plain = generate(decoder, prompt, {.max_new_tokens = 12});
  const std::string text = tokenizer.decode(plain);
  const std::string stop = text.substr(4, 3);
  const auto run = [&](GenerationRequest request) {
    Generated result;
    generate_batches(model, tokenizer, {std::move(request)}, {}, [&](const std::vector<Generated>& group) { result = group.at(0); });
    return result;
  };
  const Generated stopped = run({prompt, 12, 0, {stop}, {}});
  CHECK(stopped.text == text.substr(0, text.find(stop)));
  CHECK(stopped.ids.size() == text.find(stop) + stop.size());
  const Generated by_id = run({prompt, 12, 0, {}, {plain[0]}});
  CHECK(by_id.ids.empty());
  CHECK(run({prompt, 12, 1, {}, {plain[0]}}).ids.size() >= 1);

  int groups = 0;
  generate_batches(model, tokenizer, {{prompt, 2}, {prompt, 2}, {prompt, 2}}, {.batch = 2, .done = {true, true, false}}, [&](const std::vector<Generated>& group) {
    ++groups;
    CHECK(group.size() == 1);
    CHECK(group[0].request == 2);
  });
  CHECK(groups == 1);
}

TEST_CASE("the decode engine generates in groups what the decoder generates, with the same bytes of cache", "[eval][generation][engine]") {
  const Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  const Tokenizer tokenizer = letter_tokenizer();
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 9; ++i) {
    requests.push_back({random_ids(3 + static_cast<int64_t>((5 * i) % 11), i), 3 * static_cast<int64_t>(i % 8), 0, {}, {}});
    const std::vector<int32_t> plain = generate(decoder, requests.back().prompt, {.max_new_tokens = 12});
    if (i % 3 == 0) requests.back().stop = {tokenizer.decode(plain).substr(4, 2)};
    if (i % 3 == 1) requests.back().stop_ids = {plain[5]};
    if (i % 3 == 2) requests.back().stop_ids = {plain[0]}, requests.back().min_new_tokens = 2;
  }
  CacheFormat integers;
  integers.quant = QuantFormat{.bits = 8, .group = 8};
  integers.residual = 4;
  const auto run = [&](DecodePath path, const CacheFormat& cache) {
    std::vector<Generated> all(requests.size());
    BatchOptions options{.batch = 4};
    options.cache = cache;
    options.decode = path;
    generate_batches(model, tokenizer, requests, options, [&](const std::vector<Generated>& group) {
      for (const Generated& one : group) all[one.request] = one;
    });
    return all;
  };
  for (const CacheFormat& cache : {CacheFormat{}, integers}) {
    const std::vector<Generated> wanted = run(DecodePath::libtorch, cache), got = run(DecodePath::engine, cache);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      INFO(i);
      CHECK(got[i].ids == wanted[i].ids);
      CHECK(got[i].text == wanted[i].text);
      CHECK(got[i].cache_tokens == wanted[i].cache_tokens);
      CHECK(got[i].cache_bytes == wanted[i].cache_bytes);
      CHECK(got[i].decode == decode_record("engine", ""));
      CHECK(wanted[i].decode == decode_record("libtorch", ""));
    }
  }
}

TEST_CASE("a model that the decode engine does not hold is refused where it was asked for", "[eval][generation][engine][errors]") {
  Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  BatchOptions options;
  options.decode = DecodePath::engine;
  options.cache = parse_cache_format("int2");
  const auto run = [&] { generate_batches(model, letter_tokenizer(), {{random_ids(3, 1), 2}}, options, [](const std::vector<Generated>&) {}); };
  CHECK_THROWS_WITH(run(), Catch::Contains("8 or 4 bits") && Catch::Contains("--decode libtorch"));
}
