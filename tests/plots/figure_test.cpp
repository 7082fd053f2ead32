#include "plots/figure.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/axis.h"
#include "plots/gnuplot.h"
#include "plots/label_layout.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

Store store_of(const fs::path& path, const std::vector<SampleRun>& runs) {
  Store store = Store::open(path);
  for (const SampleRun& run : runs) add_done(store, run);
  return store;
}

const std::vector<SampleRun> kTwoMethods{{.method = "svd", .label = "svd r64", .kv_values = 96, .perplexity = 40},
                                         {.method = "transmla", .label = "transmla r96", .kv_values = 128, .perplexity = 28},
                                         {.method = "transmla", .label = "transmla r64", .kv_values = 96, .perplexity = 30},
                                         {.method = "transmla", .label = "transmla r64 worse", .kv_values = 96, .perplexity = 33}};

// Draws where gnuplot is there. Where it is absent, data and script must be written all the same.
bool draw(const Store& store, const fs::path& folder, const QueryParams& params = {}) {
  try {
    write_figure(store, "ppl_vs_cache", folder, params);
    return true;
  } catch (const ResourceError& error) {
    REQUIRE_THAT(error.what(), Catch::Contains("not installed"));
    return false;
  }
}

std::string script_of(const Store& store, const fs::path& folder) {
  draw(store, folder);
  return read_text_file(folder / "ppl_vs_cache.gp");
}


}  // namespace

TEST_CASE("a figure is a data file, a script, a PNG, an SVG and a PDF, in that order", "[plots]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);
  if (!draw(store, folder / "probe")) return skip("gnuplot is not installed");

  const std::vector<fs::path> paths = write_figure(store, "ppl_vs_cache", folder / "out");

  REQUIRE(paths.size() == 5);
  const std::vector<std::string> endings{".dat", ".gp", ".png", ".svg", ".pdf"};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    CHECK(paths[i] == folder / "out" / ("ppl_vs_cache" + endings[i]));
    CHECK(fs::file_size(paths[i]) > 100);
  }
  CHECK(read_text_file(paths[2]).substr(1, 3) == "PNG");
  CHECK(read_text_file(paths[4]).substr(0, 5) == "%PDF-");
  CHECK_THAT(read_text_file(paths[3]), Catch::Contains("<svg") && Catch::Contains("transmla") && Catch::Contains("original 20.50"));
}

TEST_CASE("the same store gives the same bytes of data, script and SVG", "[plots]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);

  const bool drawn = draw(store, folder / "one") && draw(store, folder / "two");

  for (const char* ending : {"dat", "gp", "svg"})
    if (drawn || std::string(ending) != "svg")
      CHECK(read_text_file(folder / "one" / (std::string("ppl_vs_cache.") + ending)) ==
            read_text_file(folder / "two" / (std::string("ppl_vs_cache.") + ending)));
}

TEST_CASE("the line of a method joins the best run of each cache size, by size", "[plots]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);

  draw(store, folder / "out");

  const std::string data = read_text_file(folder / "out" / "ppl_vs_cache.dat");
  CHECK_THAT(data, Catch::Contains("# lowest of each x, series 2\n96 30 1.75 \"r64\"\n128 28 1.75 \"r96\"\n\n"));
  CHECK_THAT(data, Catch::Contains("96 33 1.75 \"r64 worse\"\n"));
}

TEST_CASE("perplexity is drawn on a logarithmic axis only when it spans more than a factor of ten", "[plots]") {
  const TemporaryFolder folder;
  const Store near = store_of(folder / "near.db", {{.perplexity = 200}});  // the original has 20.5
  const Store far = store_of(folder / "far.db", {{.perplexity = 210}});

  CHECK_THAT(script_of(near, folder / "near"), !Catch::Contains("logscale"));
  CHECK_THAT(script_of(far, folder / "far"), Catch::Contains("set logscale y") && Catch::Contains("set ytics (20, 50, 100, 200)"));
}

TEST_CASE("two dtypes are two series with an original each", "[plots]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", {{.dtype = "bf16"}, {.dtype = "fp32"}});

  const std::string script = script_of(store, folder / "out");

  CHECK_THAT(script, Catch::Contains("title 'transmla bf16'") && Catch::Contains("title 'transmla fp32'"));
  CHECK_THAT(script, Catch::Contains("title 'original bf16 20.50'") && Catch::Contains("title 'original fp32 20.50'"));
}

TEST_CASE("a conversion that was scored without its original is drawn without a level", "[plots]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  store.finish_run(store.begin_run(sample_record()), sample_record(), {sample_metrics()[1]});

  CHECK_THAT(script_of(store, folder / "out"), !Catch::Contains("original"));
}

TEST_CASE("two protocols, corpora or models in one figure are refused with the flag that parts them", "[plots][errors]") {
  const TemporaryFolder folder;
  const SampleRun one;
  const std::vector<std::pair<SampleRun, std::string>> others{
      {{.protocol = "full"}, "--protocol"}, {{.corpus = "other"}, "--corpus"}, {{.model = "other"}, "--model"}};

  for (const auto& [other, flag] : others) {
    const Store store = store_of(folder / (flag + ".db"), {one, other});
    CHECK_THROWS_AS(write_figure(store, "ppl_vs_cache", folder / "out"), ConfigError);
    CHECK_THROWS_WITH(write_figure(store, "ppl_vs_cache", folder / "out"), Catch::Contains(flag));
    draw(store, folder / "out", {{"protocol", one.protocol}, {"corpus", one.corpus}, {"model", one.model}});
  }
}

TEST_CASE("the refusal lists what there is to choose from", "[plots][errors]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", {{.protocol = "hf-chunk/512/first16"}, {.protocol = "hf-chunk/512/all"}});

  CHECK_THROWS_WITH(write_figure(store, "ppl_vs_cache", folder / "out"),
                    Catch::Contains("hf-chunk/512/all, hf-chunk/512/first16"));
}

TEST_CASE("an unknown figure names the known ones and writes nothing", "[plots][errors]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);

  CHECK_THROWS_AS(write_figure(store, "ppl_vs_cash", folder / "out"), ConfigError);
  CHECK_THROWS_WITH(write_figure(store, "ppl_vs_cash", folder / "out"), Catch::Contains("ppl_vs_cache"));

  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("a store without finished runs has nothing to draw", "[plots][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  store.begin_run(sample_record());
  add_done(store, {.ad_hoc_limit = true});

  CHECK_THROWS_AS(write_figure(store, "ppl_vs_cache", folder / "out"), ConfigError);
}

TEST_CASE("a folder that cannot be made is a resource error", "[plots][errors]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);
  write_file_atomically(folder / "file", "x");

  CHECK_THROWS_AS(write_figure(store, "ppl_vs_cache", folder.path() / "file" / "out"), ResourceError);
}

TEST_CASE("texts of a hostile store are drawn, not run", "[plots]") {
  const TemporaryFolder folder;
  const std::string touch = "touch " + (folder / "owned").string();
  const std::string evil = "a'; system('" + touch + "') #`" + touch + "` @x $0 {/=90 B} ^_\\ \"\n!" + touch + "\n<script>";
  const Store store = store_of(folder / "runs.db", {{.method = evil, .label = evil, .model = evil + "\xff", .corpus = evil, .protocol = evil}});

  const bool drawn = draw(store, folder / "out");

  CHECK_FALSE(fs::exists(folder / "owned"));
  if (drawn) CHECK_THAT(read_text_file(folder / "out" / "ppl_vs_cache.svg"), !Catch::Contains("<script>"));
}

TEST_CASE("where gnuplot is absent the data and the script are written and the error says what to install", "[plots][errors]") {
  const TemporaryFolder folder;
  const Store store = store_of(folder / "runs.db", kTwoMethods);
  const std::string path = environment("PATH");

  setenv("PATH", folder.path().c_str(), 1);
  CHECK_THROWS_WITH(write_figure(store, "ppl_vs_cache", folder / "out"), Catch::Contains("gnuplot-nox"));
  setenv("PATH", path.c_str(), 1);

  CHECK(fs::exists(folder / "out" / "ppl_vs_cache.dat"));
  CHECK(fs::exists(folder / "out" / "ppl_vs_cache.gp"));
}

TEST_CASE("a script that gnuplot refuses is a resource error with gnuplot's words", "[plots][errors]") {
  const TemporaryFolder folder;
  if (std::system("command -v gnuplot > /dev/null") != 0) return skip("gnuplot is not installed");
  write_file_atomically(folder / "bad.gp", "set nonsense\n");

  CHECK_THROWS_AS(run_gnuplot(folder / "bad.gp"), ResourceError);
  CHECK_THROWS_WITH(run_gnuplot(folder / "bad.gp"), Catch::Contains("bad.gp"));
}

TEST_CASE("quoted text is one gnuplot string whatever it holds", "[plots]") {
  CHECK(gnuplot_quoted("it's `x`\n") == "'it''s `x` '");
}

TEST_CASE("labels keep clear of each other, of other marks and of the edge", "[plots]") {
  const LabelArea area{800, 600};
  std::vector<LabelledPixel> points;
  for (int i = 0; i < 12; ++i) points.push_back({{400.0 + 5 * i, 300.0 + 9 * (i % 4)}, "label " + std::to_string(i)});

  const auto places = place_labels(points, {}, area);

  for (std::size_t i = 0; i < places.size(); ++i) {
    if (!places[i]) continue;
    CHECK(places[i]->x >= 0);
    CHECK(places[i]->x + 7 * 7 <= area.width);
    for (std::size_t j = 0; j < i; ++j)
      if (places[j]) CHECK((std::abs(places[i]->y - places[j]->y) >= 14 || std::abs(places[i]->x - places[j]->x) >= 7 * 7));
  }
  CHECK(std::count_if(places.begin(), places.end(), [](const auto& place) { return place.has_value(); }) >= 2);
}

TEST_CASE("a lone point is labelled to its right", "[plots]") {
  const auto places = place_labels({{{100, 100}, "r64"}}, {}, {800, 600});

  REQUIRE(places[0].has_value());
  CHECK(places[0]->x > 100);
  CHECK(places[0]->y == 100);
}

TEST_CASE("an axis maps its range to the unit interval and back", "[plots]") {
  for (const Axis& axis : {Axis{10, 1000, true}, Axis{10, 1000, false}})
    for (const double value : {10.0, 37.0, 1000.0}) CHECK(axis.value_at(axis.share_of(value)) == Approx(value));
  CHECK(Axis{10, 1000, true}.share_of(100) == Approx(0.5));
}

TEST_CASE("equal values still make an axis with room around them", "[plots]") {
  const Axis axis = y_axis({20, 20});

  CHECK(axis.low < 20);
  CHECK(axis.high > 20);
}
