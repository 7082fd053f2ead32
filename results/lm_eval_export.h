// Answered tasks as lm-evaluation-harness writes its results: what reads those files reads ours.
#pragma once
#include <string>
#include <vector>

#include "core/base/json.h"
#include "results/store.h"

namespace mla {

struct LmEvalSelection {
  std::vector<int64_t> runs;  // of one model; empty: every finished run over tasks, the latest of each identity, no ad hoc cut
  std::string model, stage;   // stage empty: the converted model where the run has it, else the original
};

// The keys of lm_eval 0.4.13's results file, in its order. What it has and the store has not is null. Throws ConfigError: no such run,
// a run that is not finished or of no task, runs of several models, two of one task, nothing to export.
nlohmann::ordered_json lm_eval_results(const Store& store, const LmEvalSelection& selection);

// Its samples_TASK_DATE.jsonl, one text per task: a line per item and filter. The data's own row is not in the store: `doc` holds its
// id alone, `arguments` is empty, and `filtered_resps` of generated text is the whole text.
struct LmEvalSamples {
  std::string task, file_name, text;
};
std::vector<LmEvalSamples> lm_eval_samples(const Store& store, const LmEvalSelection& selection);

}  // namespace mla
