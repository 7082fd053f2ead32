// Tasks on a tiny model: metrics by their definition, answers that survive any kill.
#include <ATen/Parallel.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/python_random.h"
#include "eval/means.h"
#include "eval/task_runner.h"
#include "results/store.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/divided.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

struct Rows : AnswerSink {
  std::vector<AnswerRow> rows;
  std::size_t batches_left = SIZE_MAX;
  void add(const std::vector<AnswerRow>& more) override {
    if (batches_left-- == 0) throw Interrupted("enough");
    rows.insert(rows.end(), more.begin(), more.end());
  }
};

TaskSpec choice_spec() {
  TaskSpec spec;
  spec.name = "letters";
  spec.metrics = {"acc", "acc_norm"};
  return spec;
}

std::string word(PythonRandom& random, std::size_t length) {
  std::string text;
  while (text.size() < length) text += static_cast<char>('a' + random.below(26));
  return text;
}

TaskItems choice_items(std::size_t count) {
  PythonRandom random(3);
  TaskItems items;
  for (std::size_t i = 0; i < count; ++i) {
    ChoiceItem item{.id = std::to_string(i), .gold = static_cast<int64_t>(random.below(3))};
    const std::string context = word(random, 4 + random.below(9));
    for (int c = 0; c < 3; ++c) {
      const std::string choice = word(random, 1 + random.below(6));
      item.requests.emplace_back(context, choice);
      item.choice_chars.push_back(static_cast<int64_t>(choice.size()));
      item.choice_bytes.push_back(static_cast<int64_t>(choice.size()));
    }
    items.choices.push_back(item);
  }
  return items;
}

TaskSpec generation_spec() {
  TaskSpec spec;
  spec.name = "writing";
  spec.kind = TaskKind::generation;
  spec.scores = {{"exact", "qa_f1"}};
  return spec;
}

TaskItems generation_items(std::size_t count) {
  PythonRandom random(4);
  TaskItems items;
  for (std::size_t i = 0; i < count; ++i) {
    GenerationItem item{.id = std::to_string(i), .prompt = word(random, 3 + random.below(20)), .max_new_tokens = 5};
    item.answers = {word(random, 5)};
    items.generations.push_back(item);
  }
  return items;
}

struct Bench {
  Decoder decoder = tiny_decoder({.vocab = 27}), other = tiny_decoder({.vocab = 27}, 8);
  DecoderModel original{decoder}, converted{other};
  Tokenizer tokenizer = letter_tokenizer();
  TaskRunOptions options{.max_length = 60, .batch = 4};
  std::vector<StageModel> stages() { return {{"original", &original}, {"mla", &converted}}; }
};

std::string text_of(const AnswerRow& row) {
  return row.task + '|' + row.stage + '|' + std::to_string(row.position) + '|' + row.item + '|' + row.prompt_sha256 + '|' + row.prediction + '|' + row.gold + '|' +
         std::to_string(row.score) + '|' + std::to_string(row.tokens) + '|' + row.detail;
}
std::vector<std::string> sorted_texts(const std::vector<AnswerRow>& rows) {
  std::vector<std::string> all;
  for (const AnswerRow& row : rows) all.push_back(text_of(row));
  std::sort(all.begin(), all.end());
  return all;
}

const Metric& metric_of(const std::vector<Metric>& metrics, const std::string& stage, const std::string& name) {
  for (const Metric& metric : metrics)
    if (metric.stage == stage && metric.name == name) return metric;
  throw std::runtime_error("no metric " + name);
}

}  // namespace

TEST_CASE("accuracies are those of the likeliest choice, as a whole and by length", "[tasks][oracle]") {
  Bench bench;
  const TaskSpec spec = choice_spec();
  const TaskItems items = choice_items(30);
  Rows rows;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, rows);
  const std::vector<Metric> metrics = task_metrics(spec, 30, rows.rows, "p");

  double right = 0, right_by_length = 0, divergence = 0;
  std::vector<double> divergences, losses;  // of every token of the right answers
  for (const ChoiceItem& item : items.choices) {
    std::vector<double> sums, by_length;
    for (const auto& [context, choice] : item.requests) {
      const std::vector<int32_t> all = bench.tokenizer.encode(context + choice);
      const at::Tensor ids = at::tensor(std::vector<int64_t>(all.begin(), all.end() - 1), at::kLong).unsqueeze(0);
      const auto log_p = [&](const Decoder& decoder) { return at::log_softmax(decoder.logits(decoder.last_hidden(ids))[0].to(at::kDouble), -1); };
      const at::Tensor p = log_p(bench.decoder), q = log_p(bench.other);
      double sum = 0, kld = 0;
      for (std::size_t t = context.size(); t < all.size(); ++t) {
        const auto row = static_cast<int64_t>(t) - 1;
        sum += q[row][all[t]].item<double>();
        const double here = (p[row].exp() * (p[row] - q[row])).sum().item<double>();
        kld += here / static_cast<double>(choice.size());
        if (static_cast<int64_t>(sums.size()) == item.gold) divergences.push_back(here), losses.push_back(-q[row][all[t]].item<double>());
      }
      if (static_cast<int64_t>(sums.size()) == item.gold) divergence += kld / 30;
      sums.push_back(sum);
      by_length.push_back(sum / static_cast<double>(choice.size()));
    }
    const auto best = [](const std::vector<double>& values) { return std::max_element(values.begin(), values.end()) - values.begin(); };
    right += best(sums) == item.gold ? 1 : 0;
    right_by_length += best(by_length) == item.gold ? 1 : 0;
  }
  CHECK(metric_of(metrics, "mla", "acc").value == Approx(right / 30));
  CHECK(metric_of(metrics, "mla", "acc_norm").value == Approx(right_by_length / 30));
  CHECK(metric_of(metrics, "mla", "kld_gold").value == Approx(divergence).epsilon(1e-4));
  CHECK(metric_of(metrics, "mla", "kld_mean").value == Approx(mean_of(divergences)).epsilon(1e-4));
  CHECK(metric_of(metrics, "mla", "kld_max").value == Approx(*std::max_element(divergences.begin(), divergences.end())).epsilon(1e-4));
  CHECK(metric_of(metrics, "mla", "ppl_q").value == Approx(std::exp(mean_of(losses))).epsilon(1e-5));
  CHECK(metric_of(metrics, "mla", "same_top_share").count == static_cast<int64_t>(divergences.size()));
  CHECK(std::none_of(metrics.begin(), metrics.end(), [](const Metric& m) { return m.stage == "original" && m.name == "kld_mean"; }));
  const double p = right / 30;
  CHECK(*metric_of(metrics, "mla", "acc").std_error == Approx(std::sqrt(p * (1 - p) / 29)));
}

TEST_CASE("generation tells the divergence over the task's own answers where it is asked for", "[tasks][oracle]") {
  Bench bench;
  const TaskSpec spec = generation_spec();
  const TaskItems items = generation_items(7);
  Rows plain, rows;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, plain);
  bench.options.answer_kld = true;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, rows);
  const std::vector<Metric> metrics = task_metrics(spec, 7, rows.rows, "p"), without = task_metrics(spec, 7, plain.rows, "p");

  std::vector<double> divergences;
  for (const GenerationItem& item : items.generations) {
    const std::vector<int32_t> prompt = bench.tokenizer.encode(item.prompt), answer = bench.tokenizer.encode(" " + item.answers.front());
    std::vector<int64_t> all(prompt.begin(), prompt.end());
    all.insert(all.end(), answer.begin(), answer.end() - 1);
    const at::Tensor ids = at::tensor(all, at::kLong).unsqueeze(0);
    const auto log_p = [&](const Decoder& decoder) { return at::log_softmax(decoder.logits(decoder.last_hidden(ids))[0].to(at::kDouble), -1); };
    const at::Tensor p = log_p(bench.decoder), q = log_p(bench.other);
    for (std::size_t t = 0; t < answer.size(); ++t) {
      const auto row = static_cast<int64_t>(prompt.size() + t) - 1;
      divergences.push_back((p[row].exp() * (p[row] - q[row])).sum().item<double>());
    }
  }
  CHECK(metric_of(metrics, "mla", "kld_mean").value == Approx(mean_of(divergences)).epsilon(1e-4));
  CHECK(metric_of(metrics, "mla", "kld_mean").count == static_cast<int64_t>(divergences.size()));
  CHECK(metric_of(metrics, "mla", "exact").value == metric_of(without, "mla", "exact").value);
  CHECK_THROWS(metric_of(without, "mla", "kld_mean"));
}

TEST_CASE("a run that stops after any batch and goes on gives the rows of one that did not", "[tasks][resume]") {
  Bench bench;
  const bool choices = GENERATE(true, false);
  const TaskSpec spec = choices ? choice_spec() : generation_spec();
  const TaskItems items = choices ? choice_items(22) : generation_items(22);
  Rows whole;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, whole);
  REQUIRE(whole.rows.size() == 44);
  for (std::size_t stop = 0; stop < 6; ++stop) {
    Rows cut;
    cut.batches_left = stop;
    CHECK_THROWS_AS(answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, cut), Interrupted);
    Rows rest;
    answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, cut.rows, rest);
    cut.rows.insert(cut.rows.end(), rest.rows.begin(), rest.rows.end());
    CHECK(sorted_texts(cut.rows) == sorted_texts(whole.rows));
  }
  CHECK_THROWS_WITH(task_metrics(spec, 23, whole.rows, "p"), Catch::Contains("wanted 23 answers"));
}

// A process of its own is killed at a random moment, again and again, until one comes to the end.
TEST_CASE("killed at any moment, a run loses no answer and doubles none", "[tasks][resume][kill]") {
  const TemporaryFolder folder;
  const TaskSpec spec = choice_spec();
  const TaskItems items = choice_items(400);
  const auto run = [&](const fs::path& path) {
    Bench bench;
    Store store = Store::open(path);
    if (store.find_done(run_identity(sample_record()))) return;
    const int64_t id = store.resume_run(sample_record());
    answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, store.answers(id, spec.name), *store.answer_sink(id));
    store.finish_run(id, sample_record(), {});
  };
  const auto start = [&](const fs::path& path) {
    const pid_t child = fork();
    if (child != 0) return child;
    at::set_num_threads(1);
    run(path);
    _exit(0);
  };
  const auto begun = std::chrono::steady_clock::now();
  int state = 0;
  waitpid(start(folder / "whole.db"), &state, 0);
  REQUIRE(state == 0);
  const auto whole_us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun).count());

  PythonRandom random(11);
  int killed = 0;
  for (int attempt = 0; attempt < 50; ++attempt) {  // a tenth of the whole at a time, longer ones later: what begins each time takes its share too
    const pid_t child = start(folder / "killed.db");
    usleep(static_cast<useconds_t>(whole_us / 50 + random.below(whole_us / 10) + static_cast<uint64_t>(attempt) * whole_us / 200));
    kill(child, SIGKILL);
    waitpid(child, &state, 0);
    if (WIFSIGNALED(state)) ++killed;
  }
  CHECK(killed > 5);
  CHECK_FALSE(Store::open_read_only(folder / "killed.db").answers(1).empty());
  run(folder / "killed.db");
  const Store cut = Store::open_read_only(folder / "killed.db"), whole = Store::open_read_only(folder / "whole.db");
  CHECK(cut.runs().size() == 1);
  CHECK(sorted_texts(cut.answers(1)) == sorted_texts(whole.answers(1)));
  CHECK(whole.answers(1).size() == 800);
}

TEST_CASE("what generated the answers is told by stage, of the answers alone", "[tasks][generation]") {
  Bench bench;
  const TaskSpec spec = generation_spec();
  const TaskItems items = generation_items(9);
  Rows rows, engine, choices;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, {}, rows);
  CHECK(task_decoding(rows.rows) == Json{{"original", {{"way", "libtorch"}}}, {"mla", {{"way", "libtorch"}}}});
  std::vector<AnswerRow> have;  // one batch of the original's
  for (const AnswerRow& row : rows.rows)
    if (row.stage == "original" && have.size() < 4) have.push_back(row);
  bench.options.decode = DecodePath::engine;
  answer_task({spec, items, bench.tokenizer}, bench.stages(), bench.options, have, engine);
  have.insert(have.end(), engine.rows.begin(), engine.rows.end());
  CHECK(task_decoding(have) == Json{{"original", {{"way", "engine, libtorch"}}}, {"mla", {{"way", "engine"}}}});
  AnswerRow fallen = sample_answer(0);
  fallen.detail = Json{{"decode", {{"way", "libtorch"}, {"reason", "layer 0 has experts"}}}}.dump();
  CHECK(task_decoding({fallen, sample_answer(1)}) == Json{{"mla", {{"way", "libtorch"}, {"reason", "layer 0 has experts"}}}});  // an answer of an earlier version tells nothing

  answer_task({choice_spec(), choice_items(5), bench.tokenizer}, bench.stages(), bench.options, {}, choices);
  CHECK(task_decoding(choices.rows).is_null());
}

TEST_CASE("pairs are tokenised together, and blanks at the context's end belong to the continuation", "[tasks]") {
  const Tokenizer tokenizer = letter_tokenizer();
  const TokenRequest request = encode_request(tokenizer, "ab\n", "cd");
  CHECK(request.context == tokenizer.encode("ab"));
  CHECK(request.continuation == tokenizer.encode("\ncd"));
  CHECK_THROWS_WITH(encode_request(tokenizer, "", "cd"), Catch::Contains("BOS or EOS"));
}

namespace {

// Keeps the first row of tokens that it is asked to read.
class FirstPrompt : public DecoderModel {
 public:
  using DecoderModel::DecoderModel;
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) override {
    if (first.empty()) first.assign(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel());
    return DecoderModel::packed_hidden(ids, segments);
  }
  std::vector<int64_t> first;
};

std::vector<int64_t> prompt_read(const TaskSpec& spec, const TaskItems& items, const TaskRunOptions& options) {
  const Bench bench;
  FirstPrompt model(bench.decoder);
  Rows rows;
  answer_task({spec, items, bench.tokenizer}, {{"original", &model}}, options, {}, rows);
  return model.first;
}

std::vector<int64_t> wide(const std::vector<int32_t>& ids) { return {ids.begin(), ids.end()}; }

}  // namespace

TEST_CASE("items are wrapped as one message of the user, with the description as system message", "[tasks][chat]") {
  const Tokenizer tokenizer = letter_tokenizer();
  TaskItems items = choice_items(1), writing = generation_items(1), cut = generation_items(1);
  items.choices[0].system = "be brief";
  const std::string context = items.choices[0].requests[0].first, prompt = writing.generations[0].prompt;
  TaskSpec longbench = generation_spec();
  longbench.kind = TaskKind::longbench;

  wrap_items(choice_spec(), "chatml", tokenizer, items);
  wrap_items(generation_spec(), "chatml", tokenizer, writing);
  wrap_items(longbench, "chatml", tokenizer, cut);

  CHECK(items.choices[0].requests[0].first == render_chat("chatml", {{"system", "be brief"}, {"user", context}}, tokenizer));
  CHECK(writing.generations[0].prompt == render_chat("chatml", {{"user", prompt}}, tokenizer));
  CHECK(cut.generations[0].prompt == prompt);  // it is cut first
}

TEST_CASE("LongBench's prompt is cut, then wrapped; a set that is never wrapped is not", "[tasks][chat]") {
  TaskSpec spec = generation_spec();
  spec.kind = TaskKind::longbench;
  TaskItems items = generation_items(1);
  GenerationItem& item = items.generations[0];
  item.prompt = "abcdefghijklmnopqrstuvwxyz";
  const Tokenizer tokenizer = letter_tokenizer();
  const TaskRunOptions options{.max_length = 20, .batch = 1, .chat = "chatml"};

  item.chat = true;
  CHECK(prompt_read(spec, items, options) == wide(encode_chat(tokenizer, render_chat("chatml", {{"user", "abcdefghijqrstuvwxyz"}}, tokenizer))));
  item.chat = false;
  CHECK(prompt_read(spec, items, options) == wide(tokenizer.encode("abcdefghijqrstuvwxyz")));
}

TEST_CASE("two processes answer a task as one does, and take up what another attempt left", "[tasks][distributed]") {
  const bool choices = GENERATE(true, false), taken_up = GENERATE(true, false);
  Bench bench;
  const TaskSpec spec = choices ? choice_spec() : generation_spec();
  const TaskItems items = choices ? choice_items(22) : generation_items(22);
  const TaskInputs inputs{spec, items, bench.tokenizer};
  Rows alone, together, none;
  answer_task(inputs, bench.stages(), bench.options, {}, alone);
  std::vector<AnswerRow> have;
  if (taken_up)
    for (const AnswerRow& row : alone.rows)
      if (row.position < 9) have.push_back(row);
  together.rows = have;

  LeftMessages left;
  Divided second(1, 2, left), first(0, 2, left);
  bench.options.division = &second;
  answer_task(inputs, bench.stages(), bench.options, have, none);
  bench.options.division = &first;
  answer_task(inputs, bench.stages(), bench.options, have, together);

  CHECK(none.rows.empty());
  CHECK(first.computed > 0);
  CHECK(second.computed > 0);
  std::vector<std::string> one = sorted_texts(alone.rows), two = sorted_texts(together.rows);
  two.erase(std::unique(two.begin(), two.end()), two.end());  // a batch that was begun comes again, with the same answers
  CHECK(one == two);
}
