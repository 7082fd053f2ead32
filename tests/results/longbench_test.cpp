// LongBench's averages from its published scores: per set, and what the authors print as averages (arXiv 2308.14508, Tables 2 and 3).
#include "results/query.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

struct SetScore {
  const char* set;
  double gpt35, chatglm3;  // GPT-3.5-Turbo-16k, ChatGLM3-6B-32k
};
const std::vector<SetScore> kPublished{
    {"narrativeqa", 23.6, 26.0}, {"qasper", 43.3, 43.3}, {"multifieldqa_en", 52.3, 51.7}, {"multifieldqa_zh", 61.2, 62.3}, {"hotpotqa", 51.6, 54.4}, {"2wikimqa", 37.7, 44.9}, {"musique", 26.9, 40.4},
    {"dureader", 28.7, 44.78}, {"gov_report", 29.5, 36.8}, {"qmsum", 23.4, 23.9}, {"multi_news", 26.7, 27.9}, {"vcsum", 16.0, 17.8}, {"trec", 68.0, 79.0}, {"triviaqa", 91.4, 87.1},
    {"samsum", 41.7, 38.2}, {"lsht", 29.2, 42.0}, {"passage_count", 4.5, 2.0}, {"passage_retrieval_en", 71.0, 99.0}, {"passage_retrieval_zh", 77.5, 94.0}, {"lcc", 54.7, 57.66}, {"repobench-p", 53.6, 54.76}};

void add_task_run(Store& store, const SampleRun& run, const std::vector<Metric>& metrics) {
  RunRecord record = sample_record(run);
  record.config["task"] = {{"name", run.corpus}};
  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, metrics);
}

Metric percent(const std::string& name, double value, const std::string& stage = "mla") { return {name, stage, "longbench/v1/longbench-3500", value, std::nullopt, 200, "%", Better::higher}; }

SampleRun longbench_run(const std::string& model, const std::string& task) { return {.model = model, .corpus = task, .protocol = "longbench/v1/longbench-3500"}; }

double number(const Table& table, std::size_t row, const std::string& column) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == column) {
      INFO(column);
      REQUIRE(std::holds_alternative<double>(table.rows.at(row)[c]));
      return std::get<double>(table.rows[row][c]);
    }
  FAIL("no column " << column);
  return 0;
}

bool empty(const Table& table, std::size_t row, const std::string& column) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == column) return std::holds_alternative<std::monostate>(table.rows.at(row)[c]);
  return false;
}

constexpr double kOneDigit = 0.0501;  // the published averages have one digit after the point

}  // namespace

TEST_CASE("LongBench's averages are those that its authors print for their own scores", "[results][longbench]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const SetScore& score : kPublished) {
    add_task_run(store, longbench_run("GPT-3.5-Turbo-16k", std::string("longbench/") + score.set), {percent("any", score.gpt35 / 100), percent("any_x100", score.gpt35)});
    add_task_run(store, longbench_run("ChatGLM3-6B-32k", std::string("longbench/") + score.set), {percent("any_x100", score.chatglm3)});
  }

  const Table table = run_query(store, "longbench");

  REQUIRE(table.rows.size() == 2);  // by model: ChatGLM3 first
  CHECK(number(table, 1, "NarrativeQA") == 23.6);
  CHECK(number(table, 1, "RepoBench-P") == 53.6);
  for (const auto& [column, wanted] : {std::pair{"Single-doc QA", 45.1}, {"Multi-doc QA", 36.2}, {"Summarization", 23.9}, {"Overall EN", 44.0}, {"Overall ZH", 44.5}})
    CHECK(number(table, 1, column) == Approx(wanted).margin(kOneDigit));
  CHECK(number(table, 0, "Overall EN") == Approx(48.5).margin(kOneDigit));
  CHECK(number(table, 1, "Code") == Approx((54.7 + 53.6) / 2));
  double sum = 0;
  for (const SetScore& score : kPublished) sum += score.gpt35;
  CHECK(number(table, 1, "Mean of 21") == Approx(sum / 21));
}

TEST_CASE("a set that was not run leaves out the averages that it is part of, and no others", "[results][longbench]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const SetScore& score : kPublished)
    if (std::string(score.set) != "vcsum") add_task_run(store, longbench_run("model", std::string("longbench/") + score.set), {percent("any_x100", score.gpt35)});

  const Table table = run_query(store, "longbench");

  REQUIRE(table.rows.size() == 1);
  for (const char* missing : {"VCSUM", "Summarization", "Overall ZH", "Overall", "Mean of 21"}) CHECK(empty(table, 0, missing));
  CHECK(number(table, 0, "Overall EN") == Approx(44.0).margin(kOneDigit));
  CHECK(number(table, 0, "Few-shot") == Approx((68.0 + 91.4 + 41.7 + 29.2) / 4));
}

TEST_CASE("truncations, stages and conversions have rows of their own, and the later run of a set counts", "[results][longbench]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  SampleRun run = longbench_run("model", "longbench/trec");
  add_task_run(store, run, {percent("any_x100", 10), percent("any_x100", 20, "original")});
  add_task_run(store, run, {percent("any_x100", 11), percent("any_x100", 20, "original")});
  run.label = "svd r16";
  add_task_run(store, run, {percent("any_x100", 5), percent("any_x100", 20, "original")});
  run.ad_hoc_limit = true;
  run.dtype = "bf16";
  add_task_run(store, run, {percent("any_x100", 99)});

  const Table table = run_query(store, "longbench");

  REQUIRE(table.rows.size() == 3);  // the original once, 384 values; then two of 96
  CHECK(number(table, 0, "TREC") == 20);
  CHECK(std::get<std::string>(table.rows[0][1]) == "original");
  CHECK(number(table, 1, "TREC") == 5);
  CHECK(number(table, 2, "TREC") == 11);
  CHECK(run_query(store, "longbench", {{"protocol", "another"}}).rows.empty());
  CHECK(run_query(store, "longbench", {{"model", "another"}}).rows.empty());
  CHECK(run_query(store, "longbench", {{"corpus", "another"}}).rows.empty());
}

TEST_CASE("LongBench-E has a row per length, averaged over its thirteen sets and six categories", "[results][longbench]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const std::vector<std::string> sets{"qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "gov_report", "multi_news", "trec", "triviaqa", "samsum", "passage_count", "passage_retrieval_en", "lcc", "repobench-p"};
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const auto score = static_cast<double>(i);
    std::vector<Metric> metrics{percent("any_x100", 50), percent("any_0-4k", score), percent("any_4-8k", 2 * score)};
    if (sets[i] != "lcc") metrics.push_back(percent("any_8k+", 3 * score));
    add_task_run(store, longbench_run("model", "longbench_e/" + sets[i]), metrics);
  }

  const Table table = run_query(store, "longbench_e");

  REQUIRE(table.rows.size() == 3);
  CHECK(std::get<std::string>(table.rows[0][4]) == "0-4k");
  CHECK(std::get<std::string>(table.rows[2][4]) == "8k+");
  CHECK(number(table, 0, "Mean of 13") == 6);
  CHECK(number(table, 0, "Overall") == Approx((0.5 + 2.5 + 4.5 + 7 + 9.5 + 11.5) / 6));
  CHECK(number(table, 1, "Few-shot") == 14);
  CHECK(empty(table, 2, "Code"));
  CHECK(empty(table, 2, "Overall"));
  CHECK(number(table, 2, "Synthetic") == Approx(3 * 9.5));
  CHECK(run_query(store, "longbench").rows.empty());
}
