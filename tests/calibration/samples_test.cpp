// Samples by TransMLA's rule, moments against a plain computation, the disk cache.
#include <fstream>

#include "core/base/error.h"
#include "core/calibration/stats.h"
#include "tests/support/bytes.h"
#include "tests/support/cache_folder.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

CalibrationSamples from_json(const std::string& json) {
  const TemporaryFolder folder;
  write_bytes(folder / "ids.json", json);
  return samples_from_ids(folder / "ids.json", 50);
}

std::vector<std::vector<int64_t>> sorted_samples(const CalibrationSamples& samples) {
  std::vector<std::vector<int64_t>> all;
  for (const CalibrationBatch& batch : samples.batches)
    for (const at::Tensor& row : batch.ids.unbind()) all.emplace_back(row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.size(0));
  std::sort(all.begin(), all.end());
  return all;
}

bool equal(const CalibrationStats& a, const CalibrationStats& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i)
    same = a[i].input.tokens == b[i].input.tokens && at::equal(a[i].input.mean, b[i].input.mean) && at::equal(a[i].input.second, b[i].input.second) &&
           at::equal(a[i].pairs.query, b[i].pairs.query) && at::equal(a[i].pairs.key, b[i].pairs.key);
  return same;
}

constexpr StatKinds kAll{.input_moments = true, .pair_norms = true};

}  // namespace

// The order of the recorded samples depends on what the original process drew before; no statistic does on the order.
TEST_CASE("WikiText-2's validation text gives the samples that TransMLA's loader drew", "[calibration][golden]") {
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  if (wikitext2("valid.txt").empty()) return skip("WikiText-2 is not in the data root");
  const auto tokenizer = Tokenizer::load(smollm2());

  const CalibrationSamples drawn = sample_text(wikitext2("valid.txt"), *tokenizer, {.samples = 32, .max_seqlen = 256, .batch_size = 8, .seed = 42});
  const CalibrationSamples recorded = samples_from_ids(golden("calibration_tokens.json"), tokenizer->vocab_size());

  REQUIRE(drawn.batches.size() == recorded.batches.size());
  CHECK(sorted_samples(drawn) == sorted_samples(recorded));
  CHECK(drawn.tokens() == 32 * 256);
}

TEST_CASE("the seed decides the samples, and a text that is too short is refused", "[calibration]") {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 60; ++line) text += std::string(20, static_cast<char>('a' + line % 26)) + "\n";
  write_bytes(folder / "text.txt", text);
  const Tokenizer tokenizer = letter_tokenizer();
  const auto key = [&](uint64_t seed) { return sample_text(folder / "text.txt", tokenizer, {.samples = 4, .max_seqlen = 30, .batch_size = 3, .seed = seed}).key; };
  CHECK(key(1) == key(1));
  CHECK(key(1) != key(2));
  CHECK_THROWS_AS(sample_text(folder / "text.txt", tokenizer, {.samples = 100, .max_seqlen = 30}), ConfigError);
  CHECK_THROWS_WITH(sample_text(folder / "text.txt", tokenizer, {.samples = 100, .max_seqlen = 30}), Contains("text.txt") && Contains("--cal-nsamples"));
}

TEST_CASE("a file of ids that is not as it should be is refused by name", "[calibration][errors]") {
  CHECK(from_json(R"({"batches": [{"input_ids": [[1, 2, 3], [4]], "attention_mask": [[1, 1, 0], [1]]}]})").tokens() == 3);
  for (const char* bad : {"[]", "{}", R"({"batches": []})", R"({"batches": [{}]})", R"({"batches": [{"input_ids": []}]})", R"({"batches": [{"input_ids": [[]]}]})",
                          R"({"batches": [{"input_ids": [[50]]}]})", R"({"batches": [{"input_ids": [[-1]]}]})", R"({"batches": [{"input_ids": [["a"]]}]})",
                          R"({"batches": [{"input_ids": [[1]], "attention_mask": [[0]]}]})", R"({"batches": )"}) {
    INFO(bad);
    CHECK_THROWS_AS(from_json(bad), CheckpointError);
    CHECK_THROWS_WITH(from_json(bad), Contains("ids.json"));
  }
}

TEST_CASE("moments and pair norms equal a plain fp64 computation", "[calibration]") {
  const Decoder model = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(2, 3, 16, model.config.vocab_size);
  const CalibrationStats stats = collect_stats(model, samples, kAll);

  std::vector<at::Tensor> inputs;  // of the first layer
  for (const CalibrationBatch& batch : samples.batches) inputs.push_back(model.attention_input(0, model.embed(batch.ids)).to(at::kDouble));
  const at::Tensor x = at::cat(inputs), rows = x.flatten(0, 1);
  CHECK(stats[0].input.tokens == 96);
  CHECK(max_relative_error(stats[0].input.mean, rows.mean(0)) < kFp32Reordering);
  CHECK(max_relative_error(stats[0].input.second, rows.t().matmul(rows) / 96) < kFp32Reordering);
  const auto& gqa = std::get<GqaWeights>(model.layers[0].attention);
  const at::Tensor keys = x.matmul(gqa.k.to(at::kDouble).t()).view({6, 16, 2, 2, 4});  // pair i is (i, i + h/2)
  CHECK(max_relative_error(stats[0].pairs.key, keys.norm(2, {3}).mean(1).mean(0)) < kFp32Reordering);
}

TEST_CASE("padding takes no part in the statistics", "[calibration]") {
  const Decoder model = tiny_decoder();
  const at::Tensor ids = tiny_ids(2, 12, model.config.vocab_size);
  const CalibrationSamples whole{.batches = {{ids, at::ones({2, 12}, at::kBool)}}, .key = "whole"};
  const at::Tensor more = at::cat({ids, at::zeros({2, 5}, at::kLong)}, 1), mask = at::cat({at::ones({2, 12}, at::kBool), at::zeros({2, 5}, at::kBool)}, 1);
  const CalibrationSamples padded{.batches = {{more, mask}}, .key = "padded"};
  const CalibrationStats a = collect_stats(model, whole, kAll), b = collect_stats(model, padded, kAll);
  for (std::size_t layer = 0; layer < a.size(); ++layer) {
    CHECK(a[layer].input.tokens == b[layer].input.tokens);
    CHECK(max_relative_error(a[layer].input.second, b[layer].input.second) < kFp32Reordering);
    CHECK(max_relative_error(a[layer].pairs.query, b[layer].pairs.query) < kFp32Reordering);
  }
}

TEST_CASE("cached statistics come back bit for bit, and a spoilt file is measured again", "[calibration][cache]") {
  const CacheFolder cache;
  const Decoder model = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(1, 2, 8, model.config.vocab_size);
  int passes = 0;
  const auto collect = [&] { ++passes; return collect_stats(model, samples, kAll); };
  bool hit = true;
  const CalibrationStats first = cached_stats("key", collect, &hit);
  CHECK_FALSE(hit);
  CHECK(equal(cached_stats("key", collect, &hit), first));
  CHECK(hit);
  CHECK(passes == 1);
  cached_stats("another key", collect, &hit);
  CHECK(passes == 2);
  for (const auto& entry : fs::directory_iterator(cache.path() / "stats"))
    if (entry.path().extension() == ".safetensors") fs::resize_file(entry.path(), fs::file_size(entry.path()) - 8);
  CHECK(equal(cached_stats("key", collect, &hit), first));
  CHECK_FALSE(hit);
  CHECK(passes == 3);
}

TEST_CASE("a model that gives a NaN is reported with its layer", "[calibration][errors]") {
  Decoder model = tiny_decoder();
  model.layers[1].attention_norm.fill_(std::numeric_limits<float>::quiet_NaN());
  const CalibrationSamples samples = tiny_samples(1, 2, 8, model.config.vocab_size);
  CHECK_THROWS_AS(collect_stats(model, samples, kAll), NumericalError);
  CHECK_THROWS_WITH(collect_stats(model, samples, kAll), Contains("layer 1"));
}

TEST_CASE("held-out samples leave the calibration samples as they are, and share no row with them", "[calibration][search]") {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 60; ++line) text += std::string(20, static_cast<char>('a' + line % 26)) + std::string(1, static_cast<char>('a' + line / 26)) + "\n";
  write_bytes(folder / "text.txt", text);
  const Tokenizer tokenizer = letter_tokenizer();
  const SampleOptions plain{.samples = 4, .max_seqlen = 30, .batch_size = 3, .seed = 5};
  SampleOptions more = plain;
  more.held_out = 3;

  const CalibrationSamples without = sample_text(folder / "text.txt", tokenizer, plain), with = sample_text(folder / "text.txt", tokenizer, more);

  CHECK(with.key == without.key);
  CHECK_FALSE(without.held_out.defined());
  REQUIRE(with.held_out.sizes() == at::IntArrayRef({3, 30}));
  const auto starts_of = [](const at::Tensor& rows) {  // a row is told by its first letter and the one behind the twenty
    std::vector<std::pair<int64_t, int64_t>> starts;
    for (const at::Tensor& row : rows.unbind()) starts.emplace_back(row[0].item<int64_t>(), row[20].item<int64_t>());
    return starts;
  };
  for (const CalibrationBatch& batch : with.batches)
    for (const auto& used : starts_of(batch.ids))
      for (const auto& held : starts_of(with.held_out)) CHECK(used != held);
  more.held_out = 100;
  CHECK_THROWS_WITH(sample_text(folder / "text.txt", tokenizer, more), Contains("100 held out"));
}

TEST_CASE("the last quarter of recorded batches is held out, and one batch alone is refused", "[calibration][search]") {
  const CalibrationSamples all = tiny_samples(9, 2, 6, 50);
  const CalibrationSamples rest = hold_out_last_quarter(all);
  CHECK(rest.batches.size() == 7);
  CHECK(at::equal(rest.held_out, at::cat({all.batches[7].ids, all.batches[8].ids})));
  CHECK(rest.key != all.key);
  CHECK(hold_out_last_quarter(tiny_samples(2, 2, 6, 50)).batches.size() == 1);
  CHECK_THROWS_WITH(hold_out_last_quarter(tiny_samples(1, 2, 6, 50)), Contains("at least 2 batches"));

  const CalibrationSamples padded = from_json(R"({"batches": [{"input_ids": [[1, 2, 3]]}, {"input_ids": [[4, 5, 6, 7], [8, 9, 0, 0]], "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]]}]})");
  CHECK(at::equal(hold_out_last_quarter(padded).held_out, at::tensor({4, 5, 8, 9}, at::kLong).view({2, 2})));
}
