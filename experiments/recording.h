// A run in the store from its first to its last row, whatever happens between.
#pragma once
#include <functional>
#include <vector>

#include "core/base/run_record.h"
#include "eval/perplexity.h"
#include "results/store.h"

namespace mla {

// Of a run that has begun: lets `measure` do its work, finishes the run with the metrics it returns. When it throws, the run is marked
// interrupted or failed and the exception goes on.
void record_metrics(Store& store, int64_t id, RunRecord& record, const std::function<std::vector<Metric>()>& measure);

// Begins the run, lets `measure` fill record and scores while its rows go to the sink, finishes it. When `measure` throws,
// the run is marked interrupted or failed and the exception goes on. Returns the run's id.
int64_t record_run(Store& store, RunRecord& record,
                   const std::function<std::vector<StageScore>(RunRecord&, SampleSink&)>& measure,
                   std::vector<StageScore>& scores);

// Flags, not refusals: perplexity above the vocabulary's size, a cache larger than the original's. The original model
// itself has no such excuse: throws NumericalError.
void check_sanity(RunRecord& record, const std::vector<StageScore>& scores, int64_t vocab_size);

}  // namespace mla
