#include "eval/scorers/scorers.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"
#include "core/base/names.h"
#include "eval/scorers/answers.h"
#include "eval/scorers/code_sim.h"
#include "eval/scorers/exact_match.h"
#include "eval/scorers/qa_f1.h"
#include "eval/scorers/rouge.h"

namespace mla {
namespace {

struct Item {
  std::string_view prediction, gold;
  const Reference& reference;
  ScoreContext& context;
};

double rouge_value(const RougeScore& rouge, ScoreContext& context) {
  if (rouge.past_cliff) ++context.rouge_cliffs;
  return rouge.past_cliff && context.rouge_compat ? 0 : rouge.f;
}

double classify(const Item& item) {
  if (item.reference.all_classes.empty())
    fail<ConfigError>("scorers", "classification wanted all_classes, got none; check the task's data");
  return classification(item.prediction, item.gold, item.reference.all_classes);
}

struct Scorer {
  std::string_view name;
  double (*of)(const Item&);
  bool needs_jieba = false;
};

constexpr std::array kScorers{
    Scorer{"classification", classify},
    Scorer{"code_sim", [](const Item& i) { return code_sim(i.prediction, i.gold); }},
    Scorer{"count", [](const Item& i) { return count(i.prediction, i.gold); }},
    Scorer{"exact_match@lighteval", [](const Item& i) { return exact_match_lighteval(i.prediction, i.gold); }},
    Scorer{"exact_match@lm-eval", [](const Item& i) { return exact_match_lm_eval(i.prediction, i.gold); }},
    Scorer{"gsm8k@lighteval", [](const Item& i) { return gsm8k_lighteval(i.prediction, i.gold); }},
    Scorer{"gsm8k_flexible@lm-eval", [](const Item& i) { return exact_match_lm_eval(gsm8k_flexible(i.prediction), i.gold); }},
    Scorer{"gsm8k_strict@lm-eval", [](const Item& i) { return exact_match_lm_eval(gsm8k_strict(i.prediction), i.gold); }},
    Scorer{"mmlu_pro@lm-eval", [](const Item& i) { return mmlu_pro_lm_eval(i.prediction, i.gold); }},
    Scorer{"qa_f1", [](const Item& i) { return qa_f1(i.prediction, i.gold); }},
    Scorer{"qa_f1_zh", [](const Item& i) { return qa_f1_zh(i.prediction, i.gold, *i.context.jieba); }, true},
    Scorer{"quasi_exact_match@lighteval", [](const Item& i) { return quasi_exact_match_lighteval(i.prediction, i.gold); }},
    Scorer{"retrieval_en", [](const Item& i) { return retrieval_en(i.prediction, i.gold); }},
    Scorer{"retrieval_zh", [](const Item& i) { return retrieval_zh(i.prediction, i.gold); }},
    Scorer{"rouge_l", [](const Item& i) { return rouge_value(rouge_l(i.prediction, i.gold), i.context); }},
    Scorer{"rouge_zh", [](const Item& i) { return rouge_value(rouge_l_zh(i.prediction, i.gold, *i.context.jieba), i.context); }, true},
};

const Scorer& find(std::string_view name) {
  for (const Scorer& scorer : kScorers)
    if (scorer.name == name) return scorer;
  fail<ConfigError>("scorers", "unknown scorer '", name, "'", known_names_hint(name, scorer_names()));
}

}  // namespace

std::vector<std::string> scorer_names() {
  std::vector<std::string> names;
  for (const Scorer& scorer : kScorers) names.emplace_back(scorer.name);
  return names;
}

bool scorer_needs_jieba(std::string_view name) { return find(name).needs_jieba; }

double score(std::string_view name, std::string_view prediction, const Reference& reference, ScoreContext& context) {
  const Scorer& scorer = find(name);
  if (reference.answers.empty()) fail<ConfigError>("scorers", name, " wanted at least one answer, got none; check the task's data");
  if (scorer.needs_jieba && context.jieba == nullptr)
    fail<ConfigError>("scorers", name, " wanted the segmenter jieba for Chinese text, got none; scripts/bootstrap fetches its tables");
  double best = 0;
  for (const std::string& gold : reference.answers) best = std::max(best, scorer.of({prediction, gold, reference, context}));
  return best;
}

double score(std::string_view name, std::string_view prediction, const Reference& reference) {
  ScoreContext context;
  return score(name, prediction, reference, context);
}

}  // namespace mla
