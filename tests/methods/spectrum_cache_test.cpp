// Decompositions on disk: what is found equals what was made, and what determines it names it.
#include "methods/convert.h"
#include "tests/support/cache_folder.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

// Keys and values of 2 x 320 rows: worth a file.
const TinyShape kWide{.layers = 1, .heads = 4, .groups = 4, .head_dim = 80, .width = 40};

struct Bench {
  Decoder original = tiny_decoder(kWide);
  CalibrationSamples samples = tiny_samples(1, 2, 8, original.config.vocab_size);
  at::Tensor ids = tiny_ids(1, 6, original.config.vocab_size);

  at::Tensor hidden(int64_t rank, const std::string& key, int64_t fold = 2) const {
    const Json options{{"freqfold", fold}, {"qk_mqa_dim", 80}, {"kv_lora_rank", rank}};
    const auto collect = [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); };
    return convert(original, find_recipe("transmla").make(options, original.config), ConversionSource(collect, key)).converted.last_hidden(ids);
  }
};

std::vector<fs::path> files_of(const CacheFolder& cache) {
  std::vector<fs::path> files;
  if (!fs::exists(cache.path() / "spectra")) return files;
  for (const auto& entry : fs::directory_iterator(cache.path() / "spectra"))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  return files;
}

}  // namespace

TEST_CASE("one decomposition on disk serves every rank, bit for bit", "[recipes][cache]") {
  const CacheFolder cache;
  const Bench bench;
  const at::Tensor plain = bench.hidden(30, "");
  CHECK(files_of(cache).empty());  // without a key nothing is written

  CHECK(at::equal(bench.hidden(30, "model and samples"), plain));
  CHECK(files_of(cache).size() == 1);
  const auto written = fs::last_write_time(files_of(cache)[0]);
  CHECK(at::equal(bench.hidden(30, "model and samples"), plain));
  CHECK(at::equal(bench.hidden(20, "model and samples"), bench.hidden(20, "")));
  CHECK(files_of(cache).size() == 1);
  CHECK(fs::last_write_time(files_of(cache)[0]) == written);
}

TEST_CASE("another model, other samples or another splitter is another decomposition", "[recipes][cache]") {
  const CacheFolder cache;
  const Bench bench;
  bench.hidden(30, "one");
  bench.hidden(30, "two");
  CHECK(files_of(cache).size() == 2);
  CHECK(at::equal(bench.hidden(30, "one", 4), bench.hidden(30, "", 4)));
  CHECK(files_of(cache).size() == 3);
}

TEST_CASE("a spoilt decomposition is made again", "[recipes][cache][errors]") {
  const CacheFolder cache;
  const Bench bench;
  const at::Tensor plain = bench.hidden(30, "key");
  const fs::path file = files_of(cache).at(0);
  const auto size = fs::file_size(file);
  fs::resize_file(file, size - 8);
  CHECK(at::equal(bench.hidden(30, "key"), plain));
  CHECK(fs::file_size(file) == size);
}

TEST_CASE("narrow latents are not worth a file", "[recipes][cache]") {
  const CacheFolder cache;
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(1, 2, 8, original.config.vocab_size);
  const auto collect = [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); };
  convert(original, find_recipe("transmla").make({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 4}}, original.config), ConversionSource(collect, "key"));
  CHECK(files_of(cache).empty());
}
