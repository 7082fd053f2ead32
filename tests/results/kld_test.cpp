// The divergence block as llama-perplexity prints it, and the table of runs.
#include "core/base/error.h"
#include "results/kld_block.h"
#include "results/query.h"
#include "results/table_writer.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const std::string kProtocol = "llama.cpp/512";

// Numbers of the README of llama.cpp's perplexity example, as fractions where it prints per cent.
std::vector<Metric> block_metrics() {
  std::vector<Metric> metrics;
  const auto add = [&](const char* name, double value, std::optional<double> error = std::nullopt) { metrics.push_back({name, "mla", kProtocol, value, error, 1000, "1", Better::neither}); };
  add("ppl_q", 18.274923, 0.147295), add("ppl_base", 19.087688, 0.155066), add("ln_ppl_correlation", 0.9775), add("ln_ppl_ratio", -0.043514, 0.001718);
  add("ppl_quotient", 0.957419, 0.001645), add("ppl_difference", -0.812765, 0.032991), add("ppl_ratio", 0.957419, 0.25);
  add("kld_mean", 0.171127, 0.000512), add("kld_max", 8.847817), add("kld_p99.9", 2.049528), add("kld_p99", 0.881522), add("kld_median", 0.129044), add("kld_p10", 0.015355);
  add("kld_p5", 0.005119), add("kld_p1", 0.000561), add("kld_min", 0.000002);
  add("dp_mean", 0.00473, 0.00024), add("dp_max", 0.96932), add("dp_p25", -0.0134), add("dp_min", -0.97016), add("dp_rms", 0.09178, 0.00043), add("same_top_share", 0.78637, 0.00107);
  metrics.push_back({"perplexity", "mla", kProtocol, 18.274923, 1.5, 10, "1", Better::lower});
  return metrics;
}

}  // namespace

TEST_CASE("the block has llama-perplexity's lines", "[results][kld]") {
  const std::string text = write_kld_block(block_metrics(), "mla");
  const std::string wanted =  // that program's own output, without the lines whose metric is not given
      "====== Perplexity statistics ======\n"
      "Mean PPL(Q)                   :  18.274923 ±   0.147295\n"
      "Mean PPL(base)                :  19.087688 ±   0.155066\n"
      "Cor(ln(PPL(Q)), ln(PPL(base))):  97.75%\n"
      "Mean ln(PPL(Q)/PPL(base))     :  -0.043514 ±   0.001718\n"
      "Mean PPL(Q)/PPL(base)         :   0.957419 ±   0.001645\n"
      "Mean PPL(Q)-PPL(base)         :  -0.812765 ±   0.032991\n"
      "\n"
      "====== KL divergence statistics ======\n"
      "Mean    KLD:   0.171127 ±   0.000512\n"
      "Maximum KLD:   8.847817\n"
      "99.9%   KLD:   2.049528\n"
      "99.0%   KLD:   0.881522\n"
      "Median  KLD:   0.129044\n"
      "10.0%   KLD:   0.015355\n"
      " 5.0%   KLD:   0.005119\n"
      " 1.0%   KLD:   0.000561\n"
      "Minimum KLD:   0.000002\n"
      "\n"
      "====== Token probability statistics ======\n"
      "Mean    Δp:  0.473 ± 0.024 %\n"
      "Maximum Δp: 96.932%\n"
      "25.0%   Δp: -1.340%\n"
      "Minimum Δp: -97.016%\n"
      "RMS Δp    :  9.178 ± 0.043 %\n"
      "Same top p: 78.637 ± 0.107 %\n";
  CHECK(text == wanted);
  CHECK_THROWS_AS(write_kld_block(block_metrics(), "original"), ConfigError);
}

TEST_CASE("the table of divergences has a row per converted model, errors behind its columns", "[results][kld]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const RunRecord record = sample_record({.protocol = kProtocol});
  std::vector<Metric> metrics = block_metrics();
  metrics.push_back({"kld_mean", "partial_rope", kProtocol, 0.25, 0.5, 1000, "nats", Better::lower});
  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, metrics);

  const Table table = run_query(store, "kld");

  REQUIRE(table.rows.size() == 2);
  REQUIRE(table.rows[0].size() == table.columns.size() + 9);
  const Json rows = Json::parse(write_table(table, TableFormat::json));
  CHECK(rows[0]["Mean KLD"] == 0.171127);
  CHECK(rows[0]["Mean KLD std. error"] == 0.000512);
  CHECK(rows[0]["PPL(Q) std. error"] == 0.147295);
  CHECK(rows[0]["PPL ratio std. error"] == 0.25);
  CHECK(rows[0]["RMS Δp %"].get<double>() == Approx(9.178));
  CHECK(rows[0]["RMS Δp % std. error"].get<double>() == Approx(0.043));
  CHECK(rows[0]["Same top % std. error"].get<double>() == Approx(0.107));
  CHECK(rows[0]["PPL difference std. error"] == 0.032991);
  CHECK(rows[0]["ln ratio std. error"] == 0.001718);
  CHECK(rows[0]["Mean Δp % std. error"].get<double>() == Approx(0.024));
  CHECK(rows[0]["KV values"] == 96);
  CHECK(rows[1]["Method"] == "transmla ff4 r64 (partial RoPE)");
  CHECK(rows[1]["KV values"].is_null());
  CHECK_THAT(write_table(table, TableFormat::text), Contains("0.17113 ± 0.00051"));
}
