// What inspect counts of every family, and the page that a command writes.
#include "tests/support/catch.h"

#include <algorithm>

#include "core/base/files.h"
#include "core/checkpoint/families.h"
#include "experiments/family_matrix.h"
#include "experiments/model_plan.h"
#include "methods/registry.h"
#include "tests/methods/tiny_conversions.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

struct Written {
  explicit Written(const std::string& name) {
    write_family(name, folder / "model");
    checkpoint = Checkpoint::open(folder / "model");
  }
  TemporaryFolder folder;
  std::shared_ptr<Checkpoint> checkpoint;
};

}  // namespace

TEST_CASE("every family's parameters are as many as transformers counts", "[inspect][families][golden]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  const int64_t wanted = family_golden(name)["parameters"];
  CHECK(count_model(*Written(name).checkpoint, at::kFloat).parameters == wanted);
  CHECK(family_model(name).parameters() == wanted);
}

TEST_CASE("cache values of every family are counted from its cache: keys and values of each KV head, or latent and rope key", "[inspect][families]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  const ModelCount count = count_model(*Written(name).checkpoint, at::kFloat);
  const bool latent = family_model(name).config.latent.has_value();
  REQUIRE(count.layers.size() == 3);
  for (const LayerStreams& layer : count.layers) CHECK(layer.values() == (latent ? 14 + 4 : 2 * 2 * 8));
  CHECK(cache_bytes(count.layers, {}, at::kBFloat16, 1000) == count.layers[0].values() * 3 * 2 * 1000);
}

TEST_CASE("the cache at a length is what a cache of that length holds, at bf16, int8 and int4", "[inspect]") {
  const std::vector<LayerStreams> layers{{70, 12, 0}, {70, 12, 9}};
  for (const char* name : {"bf16", "int8", "int4"}) {
    const CacheFormat format = parse_cache_format(name);
    for (const int64_t tokens : {1, 100, 129, 255, 256, 300, 500}) {
      LayerCache cache(format);
      cache.extend(at::ones({1, tokens, 70}, at::kBFloat16), at::ones({1, tokens, 12}, at::kBFloat16));
      INFO(name << ' ' << tokens);
      CHECK(cache_bytes(layers, format, at::kBFloat16, tokens) == 2 * cache.bytes());
    }
  }
  // Quantised long contexts approach one byte, or half of one, and four bytes of scales for each group of 64 values.
  const double values = 2 * 82 * 524288.0;
  CHECK(static_cast<double>(cache_bytes(layers, parse_cache_format("int8"), at::kBFloat16, 524288)) == Approx(values + 524288.0 * 2 * 4 * 3).epsilon(1e-3));
  CHECK(static_cast<double>(cache_bytes(layers, parse_cache_format("int4"), at::kBFloat16, 524288)) == Approx(values / 2 + 524288.0 * 2 * 4 * 3).epsilon(1e-3));
  // A window of 9 tokens in one of two layers.
  CHECK(cache_bytes(layers, parse_cache_format("bf16"), at::kBFloat16, 500, true) == 82 * 2 * (500 + 9));
}

TEST_CASE("a planned conversion has the parameters and the cache of the conversion itself", "[inspect][families]") {
  const std::string name = GENERATE(as<std::string>{}, "llama", "gemma2", "mixtral", "phi3", "qwen2", "qwen3", "llama_biases");
  const Decoder original = family_model(name);
  for (const auto& [method, options] : std::vector<std::pair<std::string, Json>>{{"transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 10}}},
                                                                               {"svd", {{"cache_values", 20}}},
                                                                               {"mha2mla", {{"rope_selection", "high"}, {"rope_dim", 4}, {"svd", "joint"}, {"low_rank", 5}}}}) {
    INFO(name << ' ' << method);
    const Decoder converted = convert_with(original, method.c_str(), options).converted;
    const ModelCount planned = count_conversion(*Written(name).checkpoint, find_recipe(method).make(options, original.config), at::kFloat);
    CHECK(planned.parameters == converted.parameters());
    const std::vector<int64_t> values = converted.cache_values_by_layer();
    REQUIRE(planned.layers.size() == values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      CHECK(planned.layers[i].values() == values[i]);
      CHECK(planned.layers[i].window == original.config.window(static_cast<int64_t>(i)));
    }
  }
}

TEST_CASE("a converted folder is counted layer by layer, whatever rank each has", "[inspect]") {
  const TemporaryFolder folder;
  Decoder model = convert_with(family_model("gemma2"), "svd", {{"rank", 7}}).converted;
  model.layers[1].attention = convert_with(family_model("gemma2"), "svd", {{"rank", 3}}).converted.layers[1].attention;
  save_decoder(model, "{}", {{"method", "svd"}}, folder / "model");

  const ModelCount count = count_model(*Checkpoint::open(folder / "model"), at::kFloat);

  CHECK(count.parameters == model.parameters());
  REQUIRE(count.layers.size() == 3);
  CHECK(count.layers[0].values() == 14);
  CHECK(count.layers[1].values() == 6);
  CHECK(count.layers[0].window == 11);
}

TEST_CASE("docs/families.md holds what `mlaforge methods --families --format markdown` writes", "[families][docs]") {
  const std::vector<FamilyRow> rows = family_matrix();
  const std::string page = read_text_file(source_dir() / "docs/families.md"), table = family_matrix_markdown(rows);
  REQUIRE(table.size() > 1000);
  CHECK(page.find('\n' + table) != std::string::npos);

  for (const Family& family : families())
    CHECK(std::any_of(rows.begin(), rows.end(), [&](const FamilyRow& row) { return row.name == family.name; }));
  for (const FamilyRow& row : rows)
    for (const FamilyRow::Cell& cell : row.cells) {
      INFO(row.name << ", " << cell.method);
      CHECK(cell.targets.empty() == !cell.reason.empty());  // it is converted, or the reason stands there
    }
}
