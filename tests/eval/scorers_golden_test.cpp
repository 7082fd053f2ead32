// Scores equal those of the original programs on drawn pairs (tests/oracle/scorers_goldens.py).
#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include "eval/jieba/jieba.h"
#include "eval/scorers/answers.h"
#include "eval/scorers/averages.h"
#include "eval/scorers/exact_match.h"
#include "eval/scorers/qa_f1.h"
#include "eval/scorers/scorers.h"
#include "eval/scorers/text.h"
#include "tests/eval/drawn_texts.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr double kRougeReordering = 1e-9;  // the figure; all others are demanded to the last bit

// Null, with the reason printed, where the tables were not fetched.
const Jieba* segmenter() {
  static const std::filesystem::path folder = Jieba::find({source_dir() / ".cache"});
  static const std::unique_ptr<const Jieba> jieba = folder.empty() ? nullptr : std::make_unique<Jieba>(Jieba::load(folder));
  if (!jieba) skip("jieba's tables are not here; scripts/bootstrap fetches them");
  return jieba.get();
}

Strings fragments_of(const Json& entry) { return scorer_goldens()["fragments"][entry["fragments"].get<std::string>()]; }

PairRule rule_of(const Json& set) {
  return {set["seed"], fragments_of(set), set["most"], set["golds"].is_null() ? Strings{} : set["golds"].get<Strings>()};
}

// Pairs whose score differs from the original's; the first is described.
std::size_t differences(const Json& set, ScoreContext& context, std::string& first) {
  const std::string name = set["scorer"];
  const double allowed = name.starts_with("rouge") ? kRougeReordering : 0;
  const std::vector<Pair> pairs = draw_pairs(rule_of(set), set["scores"].size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const double wanted = set["values"][set["scores"][i].get<std::size_t>()];
    const double got = score(name, pairs[i].prediction, {{pairs[i].gold}, scorer_goldens()["classes"].get<Strings>()}, context);
    if (std::abs(got - wanted) <= allowed) continue;
    if (different++ == 0)
      first = "pair " + std::to_string(i) + ": prediction '" + pairs[i].prediction + "', gold '" + pairs[i].gold + "', wanted " +
              py::repr(wanted) + ", got " + py::repr(got);
  }
  return different;
}

void check_sets(bool chinese) {
  const Jieba* jieba = chinese ? segmenter() : nullptr;
  if (chinese && jieba == nullptr) return;
  std::map<std::string, std::size_t> checked;
  for (const Json& set : scorer_goldens()["sets"]) {
    const std::string name = set["scorer"];
    if (scorer_needs_jieba(name) != chinese) continue;
    ScoreContext context{.jieba = jieba, .rouge_compat = true};
    std::string first;
    INFO(name << " of fragments " << set["fragments"] << ": " << set["scores"].size() << " pairs");
    CHECK(differences(set, context, first) == 0);
    CHECK(first == "");
    checked[name] += set["scores"].size();
  }
  CHECK(checked.size() == (chinese ? 2 : 13));
  for (const auto& [name, pairs] : checked) CHECK(pairs >= 5000);
}

}  // namespace

TEST_CASE("every scorer but the Chinese ones gives the original's score on 5000 pairs", "[scorers][golden]") { check_sets(false); }

TEST_CASE("the Chinese scorers give the original's score on 5000 pairs", "[scorers][golden]") { check_sets(true); }

TEST_CASE("past Python's recursion limit rouge_l is 0 on request, counted, and else the true value", "[scorers][golden]") {
  for (const Json& set : scorer_goldens()["sets"]) {
    if (set["fragments"] != "long") continue;
    ScoreContext compat{.rouge_compat = true}, honest;
    std::size_t zeros = 0;
    for (const Pair& pair : draw_pairs(rule_of(set), set["scores"].size())) {
      if (score("rouge_l", pair.prediction, {{pair.gold}, {}}, compat) == 0) ++zeros;
      score("rouge_l", pair.prediction, {{pair.gold}, {}}, honest);
    }
    CHECK(compat.rouge_cliffs == honest.rouge_cliffs);
    CHECK(compat.rouge_cliffs > 5);
    CHECK(static_cast<int64_t>(zeros) >= compat.rouge_cliffs);
    return;
  }
  FAIL("the golden file has no set of long texts");
}

TEST_CASE("normalised and extracted texts are the originals'", "[scorers][golden]") {
  const std::map<std::string, std::function<std::string(const std::string&)>> functions{
      {"normalise_en", [](const std::string& text) { return py::encode(normalise_en(py::decode(text))); }},
      {"normalise_zh", [](const std::string& text) { return py::encode(normalise_zh(py::decode(text))); }},
      {"lower", [](const std::string& text) { return py::encode(py::lower(py::decode(text))); }},
      {"normalise_helm", [](const std::string& text) { return py::encode(normalise_helm(py::decode(text))); }},
      {"gsm8k_strict", [](const std::string& text) { return gsm8k_strict(text); }},
      {"gsm8k_flexible", [](const std::string& text) { return gsm8k_flexible(text); }}};
  for (const auto& [name, function] : functions) {
    const Json& golden = scorer_goldens()["texts"][name];
    PythonRandom numbers(golden["seed"].get<uint64_t>());
    const Strings fragments = fragments_of(golden);
    Strings made(5000);
    for (std::string& text : made) text = function(draw_text(numbers, fragments, golden["most"]));
    INFO(name);
    CHECK(block_hashes(made) == golden["blocks_of_500"].get<Strings>());
  }
}

TEST_CASE("dataset averages are those of LongBench's eval.py, by length too", "[scorers][golden]") {
  REQUIRE(scorer_goldens()["averages"].size() == 24);
  const Strings fragments = scorer_goldens()["fragments"]["en"];
  for (const Json& golden : scorer_goldens()["averages"]) {
    INFO(golden["dataset"] << " of " << golden["size"] << " pairs");
    std::vector<double> scores;
    for (const Pair& pair : draw_pairs({golden["seed"], fragments, 16, {}}, golden["size"])) {
      const bool cut = golden["dataset"] == "triviaqa";
      scores.push_back(score("qa_f1", cut ? std::string(first_line(pair.prediction)) : pair.prediction, {{pair.gold}, {}}));
    }
    CHECK(longbench_average(scores) == golden["score"].get<double>());
    const std::array<double, 3> by_length = longbench_e_averages(scores, golden["lengths"].get<std::vector<int64_t>>());
    for (std::size_t bucket = 0; bucket < 3; ++bucket) {
      const Json& wanted = golden["by_length"][bucket];
      if (wanted.is_null()) CHECK(std::isnan(by_length[bucket]));
      else CHECK(by_length[bucket] == wanted.get<double>());
    }
  }
}
