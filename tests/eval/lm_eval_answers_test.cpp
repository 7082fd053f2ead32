// Log-likelihoods of choices against lm-evaluation-harness itself (tests/oracle/lm_eval_answers.py), SmolLM2 at fp32. The first items of each
// set; MLAFORGE_ALL_ANSWERS=1 takes all that are recorded and compares the scores.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/base/files.h"
#include "core/base/json.h"
#include "eval/task_runner.h"
#include "tests/eval/answer_rows.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/smollm2.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr std::size_t kFew = 40;          // items of a set
constexpr double kRecordedTo = 5e-6;      // half of the recording's last digit

std::size_t likeliest(const std::vector<double>& values) { return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin()); }

// Of the two largest values: below 1e-5 relative they tie.
bool ties(std::vector<double> values) {
  std::sort(values.rbegin(), values.rend());
  return values[0] - values[1] < 1e-5 * std::abs(values[0]);
}

}  // namespace

TEST_CASE("choices have the log-likelihoods that lm-evaluation-harness gives them, and the same one wins", "[tasks][golden]") {
  const RealModel* real = real_model();
  if (!real) return;
  const fs::path root = wikitext2("test.txt").empty() ? fs::path() : wikitext2("test.txt").parent_path().parent_path();
  if (root.empty()) return skip("the data root is not here");
  const Json golden = read_json_file(mla::test::golden("lm_eval_answers.json"));
  const bool all = !environment("MLAFORGE_ALL_ANSWERS").empty();
  DecoderModel model(real->decoder);
  for (const auto& [name, wanted] : golden.at("log_likelihoods").items()) {
    INFO(name);
    const TaskSpec spec = find_task(name);
    if (!is_there(spec.data, root)) {
      skip(name + "'s data are not in the data root");
      continue;
    }
    const std::size_t count = all ? wanted.size() : std::min(kFew, wanted.size());
    const TaskItems items = build_items(spec, root, {.limit = static_cast<int64_t>(count)});
    AnswerRows rows;
    answer_task({spec, items, *real->tokenizer}, {{"original", &model}}, {.max_length = 2048}, {}, rows);
    REQUIRE(rows.rows.size() == count);
    double worst = 0;
    std::map<std::string, double> means;
    for (std::size_t i = 0; i < count; ++i) {
      INFO("item " << i);
      const Json detail = Json::parse(rows.rows[i].detail);
      const auto theirs = wanted[i].get<std::vector<double>>(), ours = detail.at("ll").get<std::vector<double>>();
      REQUIRE(ours.size() == theirs.size());
      for (std::size_t c = 0; c < ours.size(); ++c) worst = std::max(worst, (std::abs(ours[c] - theirs[c]) - kRecordedTo) / std::abs(theirs[c]));
      if (!ties(theirs)) CHECK(likeliest(ours) == likeliest(theirs));
      for (const auto& [metric, value] : detail.at("metrics").items()) means[metric] += value.get<double>() / static_cast<double>(count);
    }
    CHECK(worst < 1e-4);
    if (!all) continue;
    for (const auto& [metric, score] : golden.at("scores").at(name).items()) CHECK(means.at(metric) == Approx(score.get<double>()).margin(1e-9));
  }
}
