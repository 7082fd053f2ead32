// The steps of a run one by one, as run_pipeline and the library (experiments/library.h) take them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "experiments/pipeline.h"
#include "experiments/searcher.h"

namespace mla {

// A model with its recipe resolved and the samples drawn: what convert_prepared needs.
struct Prepared {
  std::string method;
  LoadedModel model;
  std::unique_ptr<Calibrator> calibrator;  // never null
  Resolved resolved;
  bool drawn = false;            // samples drawn with a seed, not given as ids
  int64_t seed = 0;
  std::vector<StageTime> times;  // of drawing and searching
};

// Draws the samples and resolves options given as auto; with --select-on test those are tried on `test`. Throws as Calibrator and resolve_recipe do.
Prepared prepare(LoadedModel model, const std::string& data_root, const MethodFlags& method, const CalibrationFlags& calibration, const Windows* test);

// What of a row names the conversion, before anything is converted.
RunRecord conversion_record(const Prepared& prepared, const std::vector<std::string>& argv);
// The same with a text to score: its identity is final.
RunRecord run_record(const Prepared& prepared, const Windows& windows, const CorpusFlags& corpus, const std::vector<std::string>& argv);

// Converts, and adds times and cache sizes to the record.
Conversion convert_prepared(const Prepared& prepared, RunRecord& record);

// Original, partial RoPE where there is one, converted: one pass over the windows scores them all. Adds times and warnings to the record; throws as
// score_windows and check_sanity do.
std::vector<StageScore> score_stages(const Prepared& prepared, const Conversion& conversion, const Windows& windows, const HiddenCacheOptions& hidden,
                                     RunRecord& record, SampleSink& sink);

}  // namespace mla
