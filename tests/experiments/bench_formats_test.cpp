// llama-bench's outputs: each format reads back as what was measured.
#include <cmath>
#include <sstream>

#include "core/base/error.h"
#include "experiments/bench/rows.h"
#include "tests/support/catch.h"

using namespace mla;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

const BenchMachine kMachine{.commit = "0123456789ab", .version = "0.1.0", .cpu = "A \"fast\" one, 2 GHz", .copy_bytes_per_second = 4e9};

BenchRow row_of(const std::string& label) {
  BenchRow row{.model = {.model = "it's|a model", .label = label, .architecture = "llama", .dtype = "fp32", .device = "cpu", .parameters = 134515008, .weight_bytes = 538060032,
                         .kv_values = 384},
               .test = {.generated = 128, .depth = 8192, .sequences = 2, .threads = 3}, .test_time = "2026-01-31T12:00:00Z", .seconds = {2, 4}};
  row.cache_bytes = 1 << 20;
  row.cache_tokens = 1 << 10;
  row.largest_batch = 7;
  row.generation_bytes = 4e9;
  return row;
}

std::string printed(const std::string& format, const std::vector<BenchRow>& rows) {
  std::ostringstream out;
  BenchPrinter printer(out, format, "mlaforge_bench", bench_columns());
  printer.begin();
  for (const BenchRow& row : rows) printer.add(record_of(row, kMachine));
  printer.end(closing_line(kMachine));
  return out.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("json and jsonl hold llama-bench's fields with every repetition", "[bench]") {
  BenchRow second = row_of("mla 512+64");
  second.ratio = RateRatio{2, 1.5, 2.5};
  const Json all = Json::parse(printed("json", {row_of("original"), second}));
  const std::vector<std::string> lines = lines_of(printed("jsonl", {row_of("original"), second}));

  REQUIRE(all.size() == 2);
  REQUIRE(lines.size() == 2);
  CHECK(Json::parse(lines[0]) == all[0]);
  CHECK(Json::parse(lines[1]) == all[1]);
  CHECK(all[0]["test"] == "tg128 @ d8192");
  CHECK(all[0]["n_gen"] == 128);
  CHECK(all[0]["n_depth"] == 8192);
  CHECK(all[0]["avg_ns"] == 3000000000);
  CHECK(all[0]["samples_ns"] == Json{2000000000, 4000000000});
  CHECK(all[0]["samples_ts"] == Json{128.0, 64.0});  // two sequences of 128 tokens
  CHECK(all[0]["avg_ts"] == 96.0);
  CHECK(all[0]["stddev_ts"].get<double>() == Approx(32 * std::sqrt(2.0)));
  CHECK(all[0]["cache_bytes_per_token"] == 1024.0);
  CHECK(all[0]["generation_gb_s"] == 1.5);  // mean of 2 and 1
  CHECK(all[0]["bandwidth_share"] == 0.375);
  CHECK(all[0]["ratio"].is_null());
  CHECK(all[1]["ratio_high"] == 2.5);
  CHECK(Json::parse(printed("json", {})) == Json::array());
}

TEST_CASE("md aligns numbers, shows mean and deviation, ratio and interval, and ends with copy bandwidth and build", "[bench]") {
  BenchRow second = row_of("mla 512+64");
  second.ratio = RateRatio{2, 1.5, 2.5};
  const std::vector<std::string> lines = lines_of(printed("md", {row_of("original"), second}));

  REQUIRE(lines.size() == 6);
  CHECK_THAT(lines[0], StartsWith("| model "));
  CHECK_THAT(lines[1], Contains("-: |"));
  CHECK_THAT(lines[2], Contains("it's/a model original") && Contains("513.13 MiB") && Contains("134.52 M") && Contains("tg128 @ d8192") && Contains("96.00 ± 45.25") && Contains("37.5 %"));
  CHECK_THAT(lines[3], Contains("2.000 [1.500, 2.500]"));
  CHECK(lines[5] == "copy: 4.00 GB/s read and written; build: 0123456789ab (0.1.0)");
}

TEST_CASE("csv quotes every value and sql every text; both leave the samples out", "[bench]") {
  const std::vector<std::string> csv = lines_of(printed("csv", {row_of("original")}));
  REQUIRE(csv.size() == 2);
  CHECK_THAT(csv[0], StartsWith("build_commit,build_number,cpu_info,gpu_info,backends,model_filename,") && !Contains("samples"));
  CHECK_THAT(csv[1], StartsWith("\"0123456789ab\",\"0.1.0\",\"A \"\"fast\"\" one, 2 GHz\",") && Contains("\"tg128 @ d8192\""));

  const std::string sql = printed("sql", {row_of("original"), row_of("b")});
  CHECK_THAT(sql, StartsWith("CREATE TABLE IF NOT EXISTS mlaforge_bench (\n  build_commit TEXT,\n") && Contains("avg_ts REAL") && Contains("n_gen INTEGER") && Contains("ratio REAL"));
  CHECK_THAT(sql, Contains("'it''s|a model'") && Contains("NULL"));
  CHECK(sql.find("CREATE TABLE") == sql.rfind("CREATE TABLE"));
}

TEST_CASE("a cell of the protocol says that it ran out of memory", "[bench]") {
  ProtocolRow row{.model = row_of("original").model, .cell = {.context = 8192, .memory = int64_t{24} << 30, .cache_per_sequence = 4 << 20}, .requests = 100, .chunk = 2048};
  const BenchRecord record = record_of(row, kMachine);

  CHECK(record.cells.size() == protocol_columns().size());
  CHECK(record.cells[4] == "out of memory");
  CHECK(record.cells[7].empty());
  row.cell.largest = 40;
  row.cell.batches = {34, 33, 33};
  row.seconds = {64};
  CHECK(row.rates() == std::vector<double>{100.0 * 4096 / 64});  // outputs alone count
  CHECK(record_of(row, kMachine).cells[4] == "3 x 34");
}

TEST_CASE("an unknown format names the known ones", "[bench][errors]") {
  CHECK_THROWS_WITH(printed("markdwn", {}), Contains("md, csv, json, jsonl, sql"));
}
