// Hidden states on disk: what is found is what was computed, to the bit, and the folder keeps its limit.
#include "core/base/cache_limit.h"
#include "core/calibration/tensor_cache.h"
#include "eval/perplexity.h"
#include "eval/stored_hidden.h"
#include "tests/support/bytes.h"
#include "tests/support/cache_folder.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

Windows five_windows(bool ragged = false) {
  Windows windows{.ids = tiny_ids(5, 12, 50, 5), .protocol = "hf-chunk/12", .corpus = "tiny", .text_tokens = 60};
  if (ragged) windows.lengths = at::tensor({12, 7, 12, 3, 9}, at::kLong);
  return windows;
}

// Counts what reaches the model.
struct Counting : DecoderModel {
  using DecoderModel::DecoderModel;
  int calls = 0;
  at::Tensor last_hidden(const at::Tensor& ids) override { return ++calls, DecoderModel::last_hidden(ids); }
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) override { return ++calls, DecoderModel::packed_hidden(ids, segments); }
};

std::vector<fs::path> files_of(const CacheFolder& cache) {
  std::vector<fs::path> files;
  if (!fs::exists(cache.path() / "hidden")) return files;
  for (const auto& entry : fs::directory_iterator(cache.path() / "hidden"))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  return files;
}

// Metrics of a converted model beside the original, whose hidden states go through the cache.
std::vector<Metric> scored(Counting& original, const Windows& windows, const HiddenCacheOptions& options, const std::string& key = "model") {
  const Decoder other = tiny_decoder({}, 8);
  DecoderModel converted(other);
  StoredHidden stored(original, key, options);
  return to_metrics(score_windows({{"original", &stored}, {"mla", &converted}}, windows, {.batch_windows = 2}), "p");
}

bool equal_bits(const std::vector<Metric>& a, const std::vector<Metric>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Metric& x, const Metric& y) { return x.name == y.name && x.stage == y.stage && x.value == y.value && x.std_error == y.std_error; });
}

}  // namespace

TEST_CASE("scores are equal bits without the cache, while it is filled and out of it", "[eval][cache]") {
  for (const bool ragged : {false, true}) {
    const CacheFolder cache;
    const Decoder model = tiny_decoder();
    Counting original(model);
    const std::vector<Metric> plain = scored(original, five_windows(ragged), {.on = false});
    CHECK(files_of(cache).empty());
    CHECK(original.calls == 3);
    const std::vector<Metric> filling = scored(original, five_windows(ragged), {});
    CHECK(files_of(cache).size() == 3);
    CHECK(original.calls == 6);
    const std::vector<Metric> found = scored(original, five_windows(ragged), {});
    CHECK(original.calls == 6);  // nothing was computed again

    CHECK(equal_bits(filling, plain));
    CHECK(equal_bits(found, plain));
  }
}

TEST_CASE("the first windows of a text are found when more of it is scored, another model's or text's are not", "[eval][cache]") {
  const CacheFolder cache;
  const Decoder model = tiny_decoder();
  Counting original(model);
  Windows first = five_windows();
  cut_windows(first, 2);
  scored(original, first, {});
  scored(original, five_windows(), {});
  CHECK(original.calls == 3);
  scored(original, five_windows(), {}, "another model");
  CHECK(original.calls == 6);
  Windows other = five_windows();
  other.ids = tiny_ids(5, 12, 50, 6);
  scored(original, other, {});
  CHECK(original.calls == 9);
  scored(original, five_windows(true), {});  // the same ids, but windows of several lengths
  CHECK(original.calls == 12);
}

TEST_CASE("half precision comes back in its own type", "[eval][cache]") {
  const CacheFolder cache;
  const at::Tensor values = tiny_inputs(1, 3, 8)[0];
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    const at::Tensor wanted = values.to(type);
    keep_cached_tensors("hidden", "key", {{"hidden", wanted}});
    const at::Tensor got = find_tensor(find_cached_tensors("hidden", "key"), "hidden");
    CHECK(got.scalar_type() == type);
    CHECK(at::equal(got, wanted));
  }
}

TEST_CASE("a damaged file is computed again and replaced", "[eval][cache]") {
  const CacheFolder cache;
  const Decoder model = tiny_decoder();
  Counting original(model);
  const std::vector<Metric> plain = scored(original, five_windows(), {});
  const fs::path file = files_of(cache)[0];
  fs::resize_file(file, fs::file_size(file) - 5);
  CHECK(equal_bits(scored(original, five_windows(), {}), plain));
  CHECK(original.calls == 4);
  CHECK(equal_bits(scored(original, five_windows(), {}), plain));
  CHECK(original.calls == 4);
}

TEST_CASE("a full cache keeps the beginning of a text that is longer than it", "[eval][cache]") {
  const CacheFolder cache;
  const Decoder model = tiny_decoder({.width = 1600, .inner = 8});  // a batch of two windows takes 153,600 bytes
  Counting original(model);
  DecoderModel plain(model);
  StoredHidden stored(original, "model", {.limit_mb = 0}), small(original, "model", {.limit_mb = 1});
  const at::Tensor ids = tiny_ids(20, 12, 50);
  CHECK(at::equal(stored.last_hidden(ids.narrow(0, 0, 2)), plain.last_hidden(ids.narrow(0, 0, 2))));
  CHECK(stored.full());
  CHECK(files_of(cache).empty());

  for (int64_t first = 0; first < 20; first += 2) small.last_hidden(ids.narrow(0, first, 2));
  CHECK(small.full());
  CHECK(files_of(cache).size() == 6);  // 6 * 157,696 bytes fit into 1 MB
  const int before = original.calls;
  for (int64_t first = 0; first < 12; first += 2) CHECK(at::equal(small.last_hidden(ids.narrow(0, first, 2)), plain.last_hidden(ids.narrow(0, first, 2))));
  CHECK(original.calls == before);
}

TEST_CASE("files leave a cache folder by age of use, those in use stay", "[cache]") {
  const TemporaryFolder folder;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& [name, age] : {std::pair{"oldest", 30}, {"older", 20}, {"new", 0}}) {
    write_bytes(folder / name, std::string(100, 'x'));
    fs::last_write_time(folder / name, now - std::chrono::hours(age));
  }
  CHECK(make_room(folder.path(), 50, 350, now));
  CHECK(fs::exists(folder / "oldest"));
  CHECK(make_room(folder.path(), 50, 300, now));
  CHECK_FALSE(fs::exists(folder / "oldest"));
  CHECK(fs::exists(folder / "older"));
  CHECK_FALSE(make_room(folder.path(), 250, 300, now));  // beside what is in use
  CHECK(fs::exists(folder / "older"));
  CHECK(make_room(folder.path(), 200, 300, now));
  CHECK_FALSE(fs::exists(folder / "older"));
  CHECK(fs::exists(folder / "new"));
  CHECK(make_room(folder / "absent", 10, 10, now));
}
