// Options that say auto, resolved by trying: the recipe's own search asks for perplexities, which are measured here.
#pragma once
#include "experiments/pipeline.h"

namespace mla {

struct Resolved {
  Recipe recipe;
  Json search;                        // candidates, their perplexities and the choice; null where nothing was searched
  std::vector<std::string> warnings;
  std::vector<StageTime> times;       // the search without the statistics that it measured
};

// `recipe` as made from `options`. Candidates are scored on the calibrator's held-out windows, or with --select-on test on `test`, as
// TransMLA does. Throws UsageError where those are wanted and absent.
Resolved resolve_recipe(const MethodFlags& method, Recipe recipe, const LoadedModel& model, Calibrator& calibrator, const Windows* test);

}  // namespace mla
