// Evaluation by two processes over the loopback address: equal numbers, one store, and a process that is killed on the way.
#include <csignal>
#include <fstream>
#include <thread>

#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"
#include "tests/support/free_port.h"
#include "tests/support/no_gloo.h"
#include "tests/support/no_model.h"

using namespace mla;
using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

std::string any_port() { return std::to_string(free_port()); }

Command::Variables torchrun(int rank, const std::string& port, int world = 2) {
  return {{"RANK", std::to_string(rank)}, {"WORLD_SIZE", std::to_string(world)}, {"LOCAL_RANK", std::to_string(rank)}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", port}};
}

Command::Variables slurm(int rank, const std::string& port) {
  const std::string own = std::to_string(rank);
  return {{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", own}, {"SLURM_LOCALID", own}, {"SLURM_STEP_NODELIST", "localhost"}, {"SLURM_JOB_ID", "1"}, {"MASTER_PORT", port}};
}

Words eval(const Words& more, const std::string& store) {
  Words words{"eval", "--model", smollm2().string(), "--threads", "1", "--format", "json", "--store", store};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

void write_text(const TemporaryFolder& folder) {
  std::ofstream out(folder / "text.txt");
  for (int i = 0; i < 60; ++i) out << "In the year " << 1200 + 7 * i << " the merchants of the coast built harbour number " << i << ", and the harbour made the town. ";
}

void write_task(const TemporaryFolder& folder, int items) {
  std::ofstream rows(folder / "sums.jsonl");
  for (int i = 0; i < items; ++i)
    rows << Json{{"question", std::to_string(i) + " and " + std::to_string(3 * i + 1)}, {"sums", {std::to_string(4 * i + 1), std::to_string(4 * i + 2)}}, {"right", 0}}.dump() << '\n';
  std::ofstream(folder / "sums.json") << Json{{"name", "sums"}, {"version", 1}, {"protocol", "own"}, {"kind", "multiple_choice"},
      {"data", {{"file", (folder / "sums.jsonl").string()}, {"how", "the test writes it"}}},
      {"prompt", "Question: What is the sum of {question}?\nAnswer:"}, {"choices", "{sums}"}, {"gold", {{"column", "right"}}}, {"metrics", {"acc", "acc_norm"}}}.dump();
}

std::string all_samples(const fs::path& path) {
  const Store store = Store::open_read_only(path);
  Statement read(store.database(), "SELECT stage, metric, position, value FROM sample ORDER BY 1, 2, 3");
  std::string text;
  char line[128];
  while (read.step()) {
    std::snprintf(line, sizeof line, "%s %s %lld %a\n", read.text(0).c_str(), read.text(1).c_str(), static_cast<long long>(read.integer(2)), read.real(3));
    text += line;
  }
  return text;
}

std::string all_answers(const fs::path& path) {
  std::string text;
  for (const AnswerRow& row : Store::open_read_only(path).answers(1)) text += row.stage + ' ' + std::to_string(row.position) + ' ' + row.prediction + ' ' + row.detail + '\n';
  return text;
}

std::size_t answers_so_far(const fs::path& path) {
  if (!fs::exists(path)) return 0;
  try {
    return Store::open_read_only(path).answers(1).size();
  } catch (const std::exception&) {  // it is being made
    return 0;
  }
}

}  // namespace

TEST_CASE("two processes give a text's numbers to the last bit of one, and the first alone prints and stores", "[cli][distributed]") {
  if (no_gloo() || no_model()) return;
  const TemporaryFolder folder;
  write_text(folder);
  const Words text{"--corpus", "text.txt", "--window", "32", "--reference", smollm2().string(), "--no-hidden-cache"};
  const Finished alone = mlaforge(folder.path(), eval(text, "one.db"));
  REQUIRE(alone.code == 0);

  for (const bool by_slurm : {false, true}) {
    const std::string store = by_slurm ? "slurm.db" : "two.db", port = any_port();
    Command other(folder.path(), eval(text, store), by_slurm ? slurm(1, port) : torchrun(1, port));
    const Finished first = Command(folder.path(), eval(text, store), by_slurm ? slurm(0, port) : torchrun(0, port)).wait(), second = other.wait();
    INFO(first.err << second.err);
    REQUIRE(first.code == 0);
    REQUIRE(second.code == 0);
    CHECK(second.out.empty());
    Json one = Json::parse(alone.out), two = Json::parse(first.out);
    for (const char* key : {"original", "mla", "kld"}) CHECK(one.at(key) == two.at(key));
    CHECK(one.at("identity") == two.at("identity"));
    CHECK(all_samples(folder / "one.db") == all_samples(folder / store));
    CHECK(Store::open_read_only(folder / store).runs().size() == 1);
  }
}

TEST_CASE("a process that is killed ends the run with its number; the same command takes up what was answered", "[cli][distributed]") {
  if (no_gloo() || no_model()) return;
  const TemporaryFolder folder;
  write_task(folder, 60);
  const Words task{"--tasks", "sums.json", "--batch-size", "1"};
  REQUIRE(mlaforge(folder.path(), eval(task, "one.db")).code == 0);

  const std::string port = any_port();
  Command other(folder.path(), eval(task, "two.db"), torchrun(1, port));
  Command first(folder.path(), eval(task, "two.db"), torchrun(0, port));
  for (int waited = 0; answers_so_far(folder / "two.db") < 4 && waited < 6000; ++waited) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  other.send(SIGKILL);
  const Finished lost = first.wait();
  other.wait();
  INFO(lost.err);
  CHECK(lost.code == 4);
  CHECK_THAT(lost.err, Contains("rank 1 of 2 is lost"));
  const std::size_t kept = answers_so_far(folder / "two.db");
  CHECK(kept >= 4);
  CHECK(kept < 60);

  const std::string again = any_port();
  Command helper(folder.path(), eval(task, "two.db"), torchrun(1, again));
  const Finished resumed = Command(folder.path(), eval(task, "two.db"), torchrun(0, again)).wait();
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(helper.wait().code == 0);
  CHECK(Json::parse(resumed.out)[0].at("taken_up") == kept);
  CHECK(all_answers(folder / "one.db") == all_answers(folder / "two.db"));
  CHECK(Store::open_read_only(folder / "two.db").read_run(1).second[0].value == Store::open_read_only(folder / "one.db").read_run(1).second[0].value);
}

TEST_CASE("processes that do not come, an environment that lacks a variable and commands that are not divided are refused", "[cli][distributed][errors]") {
  if (no_gloo() || no_model()) return;
  const TemporaryFolder folder;
  write_text(folder);
  const Words text{"--corpus", "text.txt", "--window", "32", "--rank-timeout", "1"};
  const Finished lonely = Command(folder.path(), eval(text, "runs.db"), torchrun(0, any_port())).wait();
  CHECK(lonely.code == 4);
  CHECK_THAT(lonely.err, Contains("wanted 2 processes at 127.0.0.1"));
  const Finished nameless = Command(folder.path(), eval(text, "runs.db"), {{"WORLD_SIZE", "2"}}).wait();
  CHECK(nameless.code == 2);
  CHECK_THAT(nameless.err, Contains("RANK"));
  const Finished run = Command(folder.path(), {"run", "--model", smollm2().string(), "--method", "original", "--tasks", "x"}, torchrun(0, "1")).wait();
  CHECK(run.code == 2);
  CHECK_THAT(run.err, Contains("wanted one process, got 2"));
  CHECK_FALSE(fs::exists(folder / "runs.db"));
}
