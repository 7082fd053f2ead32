// What each kind of figure draws of made-up runs, and what keeps methods apart.
#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/chart.h"
#include "plots/figure.h"
#include "plots/series_style.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// Data and script are there whether gnuplot is or not.
std::string script_of(const Store& store, const std::string& figure, const fs::path& folder, const QueryParams& params = {}) {
  try {
    write_figure(store, figure, folder, params);
  } catch (const ResourceError& error) {
    REQUIRE_THAT(error.what(), Contains("not installed"));
  }
  return read_text_file(folder / (figure + ".gp"));
}

std::string data_of(const fs::path& folder, const std::string& figure) { return read_text_file(folder / (figure + ".dat")); }

int64_t add_layers(Store& store, const std::string& label, int64_t values, const std::vector<double>& energies) {
  RunRecord record = sample_record({.label = label, .kv_values = values});
  record.kv_values_by_layer = {values + 16, values - 16};
  const int64_t id = store.begin_run(record);
  std::vector<SampleRow> rows;
  for (std::size_t layer = 0; layer < energies.size(); ++layer) {
    rows.push_back({"mla", "layer_rank", static_cast<int64_t>(layer), static_cast<double>(values)});
    rows.push_back({"mla", "kept_energy", static_cast<int64_t>(layer), energies[layer]});
    for (const int64_t direction : {1, 4, 16}) rows.push_back({"mla", "spectrum/" + std::to_string(layer) + "/0", direction, 0.5 / static_cast<double>(direction)});
  }
  store.sink(id)->add(rows);
  store.finish_run(id, record, sample_metrics());
  return id;
}

}  // namespace

TEST_CASE("the Pareto front keeps what no cache of its size or smaller beats", "[plots]") {
  const std::vector<ChartSeries> series{{"a", {}, {{96, 40, 0, ""}, {192, 25, 0, ""}}}, {"b", {}, {{96, 30, 0, ""}, {128, 30, 0, ""}, {256, 26, 0, ""}, {300, 20, 0, ""}}}};

  std::vector<std::pair<double, double>> front;
  for (const ChartPoint& point : front_of(series)) front.emplace_back(point.x, point.y);

  CHECK(front == std::vector<std::pair<double, double>>{{96, 30}, {192, 25}, {300, 20}});
}

TEST_CASE("bars are of the difference from the original where every run was scored beside it", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  std::vector<Metric> metrics = sample_metrics();
  metrics.push_back({"ppl_ratio", "mla", "hf-chunk/512/first16", 1.5, 0.125, 16, "1", Better::lower});
  store.finish_run(store.begin_run(sample_record()), sample_record(), metrics);

  CHECK_THAT(script_of(store, "ppl_vs_cache", folder / "paired"), Contains("with yerrorbars") && Contains("difference from the original on the same windows") && Contains("mlaforge cccc"));
  CHECK_THAT(data_of(folder / "paired", "ppl_vs_cache"), Contains("96 30.125 2.5625 "));  // 0.125 of 20.5

  add_done(store, {.label = "alone", .kv_values = 128});
  CHECK_THAT(script_of(store, "ppl_vs_cache", folder / "own"), Contains("one standard error of the mean over windows"));
  CHECK_THAT(data_of(folder / "own", "ppl_vs_cache"), Contains("96 30.125 1.75 "));
}

TEST_CASE("divergences are drawn against the cache too", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store);

  CHECK_THAT(script_of(store, "kld_vs_cache", folder / "out"), Contains("Mean KL divergence") && !Contains("original 20.50"));
  CHECK_THAT(data_of(folder / "out", "kld_vs_cache"), Contains("96 0.375 0.0625 "));
}

TEST_CASE("layers: cached values and kept energy of each conversion, spectra of one", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_layers(store, "transmla ff4 r64", 96, {0.875, 0.5});
  add_layers(store, "svd r32", 64, {0.75, 0.25});

  script_of(store, "layer_ranks", folder / "out");
  CHECK_THAT(data_of(folder / "out", "layer_ranks"), Contains("0 112 0 \"\"\n1 80 0 \"\"\n") && Contains("0 80 0 \"\"\n1 48 0 \"\"\n"));
  CHECK_THAT(script_of(store, "layer_energy", folder / "out"), Contains("title 'transmla ff4 r64, 96 values'") && Contains("title 'svd r32, 64 values'"));
  CHECK_THAT(data_of(folder / "out", "layer_energy"), Contains("0 87.5 0 \"\"\n1 50 0 \"\"\n"));
  CHECK_THROWS_WITH(write_figure(store, "spectrum", folder / "out"), Contains("--method"));
  CHECK_THAT(script_of(store, "spectrum", folder / "out", {{"method", "svd"}}), Contains("set logscale x") && Contains("title 'layer 0'") && Contains("title 'layer 1'"));
  CHECK_THAT(data_of(folder / "out", "spectrum"), Contains("1 50 0 \"\"\n4 12.5 0 \"\"\n16 3.125 0 \"\"\n"));
}

TEST_CASE("a search is drawn with what it chose", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  RunRecord record = sample_record();
  record.config["search"] = {{"select_on", "calibration"}, {"windows", 8}, {"window", 256}, {"chosen", {{"freqfold", 2}}},
                             {"candidates", {{{"options", {{"freqfold", 1}}}, {"perplexity", 33.5}}, {{"options", {{"freqfold", 2}}}, {"perplexity", 30.25}}, {{"options", {{"freqfold", 4}}}, {"perplexity", 31}}}}};
  store.finish_run(store.begin_run(record), record, sample_metrics());

  CHECK_THAT(script_of(store, "search", folder / "out"), Contains("set xtics (1, 2, 4)") && Contains("8 x 256 tokens, held out of the calibration"));
  CHECK_THAT(data_of(folder / "out", "search"), Contains("1 33.5 0 \"\"\n2 30.25 0 \"chosen\"\n4 31 0 \"\"\n"));
}

TEST_CASE("memory grows with the context; equal caches are one line", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const char* label : {"transmla a", "svd b"}) add_done(store, {.label = label});

  CHECK_THAT(script_of(store, "memory", folder / "out"), Contains("title 'original, 384 values'") && Contains("title '96 values, 2 conversions'"));
  CHECK_THAT(data_of(folder / "out", "memory"), Contains("1024 0.75 0 \"\"\n") && Contains("131072 96 0 \"\"\n"));  // 96 values of 2 layers in fp32
}

TEST_CASE("tasks are groups of bars, a bar per model with its error", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const char* task : {"piqa", "arc_easy"}) {
    const RunRecord record = sample_record({.corpus = task, .protocol = "lm-eval/v1"});
    store.finish_run(store.begin_run(record), record, {{"acc", "mla", "lm-eval/v1", 0.5, 0.125, 16, "1", Better::higher}, {"acc", "original", "lm-eval/v1", 0.75, 0.0625, 16, "1", Better::higher}});
  }

  CHECK_THAT(script_of(store, "tasks_vs_cache", folder / "out"), Contains("('arc_easy acc' 0, 'piqa acc' 1)") && Contains("title 'original, 384 values'") && Contains("fs pattern"));
  CHECK_THAT(data_of(folder / "out", "tasks_vs_cache"), Contains("# series 1: x value std_error\n-0.21 0.75 0.0625\n0.79 0.75 0.0625\n"));
}

TEST_CASE("a method has one colour everywhere, and a mark and colour that no other known method has", "[plots]") {
  std::set<std::pair<std::string, int>> styles;
  for (const char* method : {"original", "care", "elitekv", "gla", "gta", "kq_svd", "mha2mla", "mla_retrofit", "palu", "stream_match", "svd", "svd_llm", "transmla", "transmla_converter", "x_ecomla"}) {
    const SeriesStyle style = style_of(method);
    CHECK(styles.insert({style.color, style.mark}).second);
    CHECK(style_of(std::string(method) + " r64, 96 values", 3).color == style.color);
    CHECK(style_of(method, 1).mark != style.mark);
  }
  CHECK(style_of("svd_llm r64").color == style_of("svd_llm").color);
  CHECK(style_of("of my own").color == style_of("of another store").color);  // by the first word
}

TEST_CASE("benchmarks are drawn against the context, a line per model and memory; what ran out of memory is no point", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const std::string protocol = "transmla/100 requests/b2048";
  const auto add = [&](const char* label, double gib, double context, double rate, double fits) {
    RunRecord record = sample_record({.label = label, .corpus = "synthetic", .protocol = protocol});
    record.config["test"] = {{"context", context}, {"memory", gib}};
    std::vector<Metric> metrics{{"context", "mla", protocol, context, std::nullopt, 1, "tokens", Better::neither}, {"largest_batch", "mla", protocol, fits, std::nullopt, 1, "1", Better::higher},
                                {"memory_bytes", "mla", protocol, gib * (1 << 30), std::nullopt, 1, "B", Better::neither}, {"sequences", "mla", protocol, fits, std::nullopt, 1, "1", Better::higher},
                                {"cache_bytes_per_token", "mla", protocol, 1024, std::nullopt, 1, "B", Better::lower}};
    if (rate > 0) metrics.push_back({"tokens_per_second", "mla", protocol, rate, 0.25, 3, "tokens/s", Better::higher});
    store.finish_run(store.begin_run(record), record, metrics);
  };
  for (const double gib : {24.0, 40.0}) {
    add("original", gib, 1024, gib, 4);
    add("original", gib, 2048, 0, 0);
    add("mla 96+32", gib, 1024, 2 * gib, 50);
    add("mla 96+32", gib, 2048, gib, 25);
  }

  const std::string script = script_of(store, "throughput_vs_context", folder / "out");
  CHECK_THAT(script, Contains("title 'original, 24 GiB'") && Contains("title 'mla 96+32, 40 GiB'") && Contains("set logscale x") && Contains("with yerrorbars"));
  CHECK_THAT(data_of(folder / "out", "throughput_vs_context"), Contains("1024 48 0.25 \"\"\n2048 24 0.25 \"\"\n"));
  script_of(store, "batch_vs_context", folder / "out");
  CHECK_THAT(data_of(folder / "out", "batch_vs_context"), Contains("1024 50 0 \"\"\n2048 25 0 \"\"\n") && !Contains("2048 0 "));
  script_of(store, "cache_vs_context", folder / "out");
  CHECK_THAT(data_of(folder / "out", "cache_vs_context"), Contains("1024 1 0 \"\"\n2048 2 0 \"\"\n"));

  const RunRecord other = sample_record({.corpus = "synthetic", .protocol = "llama-bench/tg128/b2048"});
  store.finish_run(store.begin_run(other), other, {{"context", "mla", other.protocol, 128, std::nullopt, 1, "tokens", Better::neither}, {"largest_batch", "mla", other.protocol, 1, std::nullopt, 1, "1", Better::higher}});
  CHECK_THROWS_WITH(write_figure(store, "throughput_vs_context", folder / "out"), Contains("--protocol"));
}

TEST_CASE("the same store gives the same bytes of every figure's data and script", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_layers(store, "transmla ff4 r64", 96, {0.875, 0.5});

  for (const std::string& figure : figure_names()) {
    if (figure == "needle" || figure == "tasks_vs_cache" || figure == "search" || figure.find("vs_context") != std::string::npos) {  // nothing here to draw
      CHECK_THROWS_WITH(write_figure(store, figure, folder / "none"), Contains("nothing to draw"));
      continue;
    }
    INFO(figure);
    CHECK(script_of(store, figure, folder / "one") == script_of(store, figure, folder / "two"));
    CHECK(data_of(folder / "one", figure) == data_of(folder / "two", figure));
  }
}
