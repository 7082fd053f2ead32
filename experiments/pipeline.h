// The road of DESIGN.md from checkpoint to stored metrics. The commands run, convert and eval are its parts.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/run_record.h"
#include "core/calibration/stats_stream.h"
#include "eval/perplexity.h"
#include "experiments/cache_options.h"
#include "experiments/run_options.h"
#include "experiments/session.h"
#include "experiments/task_evaluation.h"
#include "methods/convert.h"

namespace mla {

struct RunRequest {
  ModelFlags model;
  MethodFlags method;
  CalibrationFlags calibration;
  CorpusFlags corpus;  // a text to score, or none where tasks are given
  TaskFlags tasks;     // answered by the converted model; by the original where the method is "original"
  CacheFlags cache;    // of tasks that generate
  std::string store = "runs.db";
  bool skip_done = false;
  std::string out;  // folder for the converted model; empty: it is not kept
};

// The flags that say what is measured; where the result goes is said by others.
void add_run_request_flags(CLI::App& command, RunRequest& request);

// Raised when a stage's numbers change, so that runs of old and new code never share an identity.
const Json& run_stage_versions();

// Refuses what can be refused before a model is read. Throws UsageError, ConfigError, CheckpointError, StoreError.
void check_request(const RunRequest& request);

// Statistics as conversion asks for them, from the cache where it holds them. A recipe that needs none gets no samples.
class Calibrator {
 public:
  // Throws as sample_text, samples_from_ids and pair_norms_of_ranks do.
  Calibrator(const CalibrationFlags& flags, const std::string& data_root, const LoadedModel& model, const Recipe& recipe);
  CalibrationStats collect(const Decoder& model, const StatKinds& kinds, const std::string& state);
  ConversionSource callback();  // decompositions are cached where statistics are
  // collect() for a model whose layers come one at a time: the cache is read and written layer by layer. It outlives what is returned.
  std::unique_ptr<StatsStream> layer_by_layer(const Decoder& frame, const StatKinds& kinds, const std::string& state);
  std::string cache_key() const;  // of model and samples; empty with --no-stats-cache
  const CalibrationSamples* samples() const { return samples_.batches.empty() ? nullptr : &samples_; }

  // For a search: statistics of samples that the held-out windows are no part of.
  CalibrationStats collect_for_search(const Decoder& model, const StatKinds& kinds, const std::string& state);
  const CalibrationSamples* search_samples() const { return search_samples_ ? &*search_samples_ : samples(); }
  Windows held_out() const;
  bool selects_on_test() const { return selects_on_test_; }

  Json config() const { return config_; }                              // of the samples, null when none are needed
  const std::optional<InputHash>& input() const { return input_; }     // the text or the id file
  const std::optional<InputHash>& qk_norms_input() const { return qk_norms_input_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::vector<StageTime>& times() const { return times_; }
  std::vector<StageTime> take_times();  // and begins anew

 private:
  CalibrationStats measure(const Decoder& model, const StatKinds& kinds, const std::string& state, const CalibrationSamples& samples);
  std::string stats_key(const StatKinds& kinds, const std::string& state, const CalibrationSamples& samples) const;
  void keep_pair_norms(const CalibrationStats& stats) const;  // --save-qk-norms
  void write_own(int64_t count, const CalibrationFlags& flags, const Decoder& model);
  CalibrationStats collect_from(const Decoder& model, StatKinds kinds, const std::string& state, const CalibrationSamples& samples);

  CalibrationSamples samples_;
  std::optional<CalibrationSamples> search_samples_;  // where they are not samples_
  std::string model_key_;
  ResidualTrace trace_;
  bool heals_ = false, use_cache_ = true, selects_on_test_ = false, per_query_head_ = false;
  std::string save_qk_norms_;
  std::vector<PairNorms> qk_norms_;  // read in place of measured ones
  std::optional<InputHash> qk_norms_input_;
  Json config_;
  std::optional<InputHash> input_;
  std::vector<std::string> warnings_;
  std::vector<StageTime> times_;
};

// Reads, cuts and names the corpus; a manifest mismatch lands in `warnings`.
Windows corpus_windows(const CorpusFlags& flags, const std::string& data_root, const Tokenizer& tokenizer,
                       std::vector<std::string>& warnings);

// What decides the statistics of a model beside the samples: hashes, dtype, device, threads.
std::string model_key_of(const LoadedModel& model);

// "Found" on stderr where the cache held hidden states, and a warning where it had no room for more.
void report_stored_hidden(const StoredHidden& stored, const HiddenCacheOptions& options);

// A model before and after, in memory or layer by layer, and how it was made.
struct WrittenConversion {
  LayerStream original, converted;
  const std::vector<LayerRanks>& ranks;
  const Healing& healing;
  std::optional<std::filesystem::path> scratch = {};  // as export_model's
};

// What is stored beside weights: enough to say what a converted folder is.
Json describe_conversion(const LoadedModel& original, const std::string& method, const Recipe& recipe,
                         const Calibrator& calibrator, const WrittenConversion& conversion, const Json& search);

// Writes the converted model with its description for the target that `flags` name; returns and throws as export_model does.
struct Resolved;
struct ExportFlags;
Json write_conversion(const LoadedModel& original, const std::string& method, const Resolved& resolved, const Calibrator& calibrator,
                      const WrittenConversion& conversion, const ExportFlags& flags, const std::string& out);
Json write_conversion(const LoadedModel& original, const std::string& method, const Resolved& resolved, const Calibrator& calibrator,
                      const Conversion& conversion, const ExportFlags& flags, const std::string& out);

// The first line that `convert` prints.
std::string describe_written(const std::string& out, const std::string& label, const WrittenConversion& conversion);

struct RunOutcome {
  int64_t run_id = 0;  // of the text, else of the first task
  RunRecord record;    // of the text
  std::vector<StageScore> scores;  // of the text; empty where there is none
  bool found_done = false;  // --skip-done: everything was in the store already; `scores` is empty
  std::vector<TaskOutcome> tasks;
};
RunOutcome run_pipeline(const RunRequest& request);

}  // namespace mla
