// Tasks of `run` and `sweep`: answered by a model that was converted in this process, or by the original.
#pragma once
#include "experiments/run_steps.h"

namespace mla {

// Flags as run_task wants them (limit, cache, chat template), and the tasks, read and refused before any model is. Throws as find_tasks and
// choose_chat do; UsageError for a cache or a template without tasks.
std::vector<TaskSpec> ready_tasks(const RunRequest& request, TaskFlags& flags);

// Converts when it is first asked to. Every record gets what that took, though it was done once: a run tells what it would cost alone.
class LazyConversion {
 public:
  explicit LazyConversion(const Prepared& prepared) : prepared_(prepared) {}
  const Conversion& get(RunRecord& record);

 private:
  const Prepared& prepared_;
  std::optional<Conversion> conversion_;
  RunRecord costs_;
};

// One task by the converted model, or found in the store with skip_done.
TaskOutcome answer_converted(const TaskSpec& spec, const TaskFlags& flags, const RunRequest& request, const Prepared& prepared, LazyConversion& conversion, Store& store);

// `--method original`: the tasks by the model as it is, the same runs as those of `mlaforge eval --tasks`. Throws UsageError for a text, a
// calibration or options of a method.
RunOutcome answer_original(const RunRequest& request);

// What both commands print.
void print_task(const TaskOutcome& outcome, bool kld = false);  // with llama-perplexity's block over the right answers' tokens
Json task_json(const TaskOutcome& outcome);

}  // namespace mla
