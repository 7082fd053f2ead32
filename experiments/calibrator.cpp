#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "core/calibration/self_samples.h"
#include "core/calibration/tensor_cache.h"
#include "experiments/data_root.h"
#include "experiments/pipeline.h"
#include "methods/splitters/pair_ranks.h"

namespace mla {
namespace {

constexpr int64_t kMostTraced = int64_t{2} << 30;  // bytes of the original's stream that may wait for the healers
constexpr int64_t kLeastHeldOut = 8;  // samples that a search scores on, else a quarter as many as calibrate

void report_found(const CalibrationSamples& samples) {
  status("Calibrated", "statistics of " + std::to_string(samples.tokens()) + " tokens found in the cache");
}

// Layer by layer: norms of rotary pairs that a file gave in place of measured ones, or a look at those of all layers in the end.
class PairStats : public StatsStream {
 public:
  PairStats(std::unique_ptr<StatsStream> inner, const std::vector<PairNorms>& given, std::function<void(const CalibrationStats&)> at_end)
      : inner_(std::move(inner)), given_(given), at_end_(std::move(at_end)) {}
  LayerParts reads() const override { return inner_ ? inner_->reads() : LayerParts::outline; }
  LayerStats next(const Decoder& model, int64_t layer) override {
    LayerStats stats = inner_ ? inner_->next(model, layer) : LayerStats();
    if (!given_.empty()) stats.pairs = given_.at(static_cast<std::size_t>(layer));
    seen_.emplace_back().pairs = stats.pairs;
    if (seen_.size() == model.layers.size()) at_end_(seen_);
    return stats;
  }

 private:
  std::unique_ptr<StatsStream> inner_;
  const std::vector<PairNorms>& given_;
  std::function<void(const CalibrationStats&)> at_end_;
  CalibrationStats seen_;
};

}  // namespace

Calibrator::Calibrator(const CalibrationFlags& flags, const std::string& data_root, const LoadedModel& model, const Recipe& recipe)
    : model_key_(model_key_of(model)), use_cache_(!flags.no_cache), selects_on_test_(flags.select_on == "test"),
      per_query_head_(recipe.options.is_object() && recipe.options.value("gqa2mha2mla", false)), save_qk_norms_(flags.save_qk_norms) {
  StatKinds needs = recipe.needs();
  if (!needs.pair_norms && !(flags.qk_norms.empty() && flags.save_qk_norms.empty()))
    fail<UsageError>("calibration", "wanted neither --qk-norms nor --save-qk-norms: ", recipe.label, " reads no norms of rotary pairs");
  if (!flags.qk_norms.empty()) {
    needs.pair_norms = false;
    qk_norms_ = pair_norms_of_ranks(read_json_file(flags.qk_norms), model.decoder.config, per_query_head_, flags.qk_norms);
    qk_norms_input_ = InputHash{"qk_norms", flags.qk_norms, sha256_of_file(flags.qk_norms)};
  }
  if (!needs.any() && recipe.healers.empty()) return;
  heals_ = !recipe.healers.empty();
  require_calibration(flags, recipe.label);
  const StageTimer timer(times_, "sample");
  const bool holds_out = recipe.search && !selects_on_test_;
  if (!flags.ids.empty()) {
    samples_ = samples_from_ids(flags.ids, model.tokenizer->vocab_size());
    if (holds_out) search_samples_ = hold_out_last_quarter(samples_);
    input_ = InputHash{"calibration", flags.ids, samples_.source_sha256};
    config_ = {{"ids", samples_.key}, {"tokens", samples_.tokens()}};
  } else {
    const Text text = find_text(flags.dataset, TextRole::calibration, data_root);
    if (text.warning) warnings_.push_back(*text.warning);
    SampleOptions options = flags.samples;
    options.rows.rule = text.rule;
    if (!flags.samples_given && recipe.calibration_samples) options.samples = *recipe.calibration_samples;
    if (holds_out) options.held_out = std::max(kLeastHeldOut, options.samples / 4);
    samples_ = sample_text(text.path, *model.tokenizer, options);
    input_ = InputHash{"calibration", flags.dataset, samples_.source_sha256};
    config_ = {{"dataset", text.name}, {"nsamples", options.samples}, {"max_seqlen", flags.samples.max_seqlen},
               {"batch_size", flags.samples.batch_size}, {"seed", flags.samples.seed}, {"tokens", samples_.tokens()}};
    if (!flags.samples.rows.field.empty()) config_["field"] = flags.samples.rows.field;
  }
  const int64_t own = flags.self_samples.value_or(flags.ids.empty() ? recipe.self_samples : 0);
  if (own > 0) write_own(own, flags, model.decoder);
}

void Calibrator::write_own(int64_t count, const CalibrationFlags& flags, const Decoder& model) {
  const int64_t length = flags.samples.max_seqlen;
  const auto write = [&] {
    if (model.layers.empty())
      fail<UsageError>("calibration", "wanted --cal-self-samples 0: the model writes such samples only when it is in memory; or leave --stream out");
    return NamedTensors{{"ids", write_samples(model, count, length, flags.samples.seed)}};
  };
  const std::string key = "self samples 1\n" + model_key_ + '\n' + Json{count, length, flags.samples.seed}.dump();
  const at::Tensor ids = find_tensor(use_cache_ ? cached_tensors("samples", key, write) : write(), "ids");
  add_samples(ids, flags.samples.batch_size, samples_);
  if (search_samples_) add_samples(ids, flags.samples.batch_size, *search_samples_);
  config_["self_samples"] = count;
  config_["tokens"] = samples_.tokens();
}

CalibrationStats Calibrator::measure(const Decoder& model, const StatKinds& kinds, const std::string& state, const CalibrationSamples& samples) {
  const StageTimer timer(times_, state == "original" ? "calibrate" : "recalibrate");
  const int64_t stream_bytes = samples.tokens() * model.config.hidden_size * static_cast<int64_t>(model.layers.size() * c10::elementSize(model.dtype()));
  const bool traces = heals_ && state == "original" && &samples == &samples_ && stream_bytes <= kMostTraced;
  const auto run = [&] { return collect_stats(model, samples, kinds, traces ? &trace_ : nullptr); };
  if (!use_cache_) return run();
  bool hit = false;
  CalibrationStats stats = cached_stats(stats_key(kinds, state, samples), run, &hit);
  if (hit) report_found(samples);
  return stats;
}

std::string Calibrator::stats_key(const StatKinds& kinds, const std::string& state, const CalibrationSamples& samples) const {
  return "statistics 2\n" + model_key_ + '\n' + samples.key + '\n' + state + names_of(kinds);
}

std::unique_ptr<StatsStream> Calibrator::layer_by_layer(const Decoder& frame, const StatKinds& asked, const std::string& state) {
  StatKinds kinds = asked;
  if (!qk_norms_.empty()) kinds.pair_norms = false;
  std::unique_ptr<StatsStream> stats;
  if (kinds.any()) {
    const auto measure = [&] { return measured_stats(frame, samples_, kinds); };
    bool hit = false;
    stats = use_cache_ ? cached_stats_stream(stats_key(kinds, state, samples_), measure, &hit) : measure();
    if (hit) report_found(samples_);
  }
  if (!asked.pair_norms || (qk_norms_.empty() && save_qk_norms_.empty())) return stats;
  return std::make_unique<PairStats>(std::move(stats), qk_norms_, [this](const CalibrationStats& all) { keep_pair_norms(all); });
}

void Calibrator::keep_pair_norms(const CalibrationStats& stats) const {
  if (!save_qk_norms_.empty()) write_file_atomically(save_qk_norms_, pair_ranks(stats, per_query_head_).dump() + '\n');
}

CalibrationStats Calibrator::collect_from(const Decoder& model, StatKinds kinds, const std::string& state, const CalibrationSamples& samples) {
  const bool pairs = kinds.pair_norms;
  if (!qk_norms_.empty()) kinds.pair_norms = false;
  CalibrationStats stats = kinds.any() ? measure(model, kinds, state, samples) : CalibrationStats(model.layers.size());
  if (pairs && !qk_norms_.empty())
    for (std::size_t layer = 0; layer < stats.size(); ++layer) stats[layer].pairs = qk_norms_[layer];
  return stats;
}

CalibrationStats Calibrator::collect(const Decoder& model, const StatKinds& kinds, const std::string& state) {
  CalibrationStats stats = collect_from(model, kinds, state, samples_);
  if (kinds.pair_norms) keep_pair_norms(stats);
  return stats;
}

CalibrationStats Calibrator::collect_for_search(const Decoder& model, const StatKinds& kinds, const std::string& state) {
  return collect_from(model, kinds, state, search_samples_ ? *search_samples_ : samples_);
}

std::string Calibrator::cache_key() const {
  if (!use_cache_) return "";
  return model_key_ + '\n' + samples_.key + (qk_norms_input_ ? '\n' + qk_norms_input_->sha256 : "");
}

ConversionSource Calibrator::callback() {
  ConversionSource source([this](const Decoder& model, const StatKinds& kinds, const std::string& state) { return collect(model, kinds, state); }, cache_key());
  source.take_trace = [this] { return std::exchange(trace_, {}); };
  return source;
}

Windows Calibrator::held_out() const {
  const CalibrationSamples& from = search_samples_ ? *search_samples_ : samples_;
  if (!from.held_out.defined()) fail<ConfigError>("calibration", "wanted held-out windows, got samples without any");
  Windows windows;
  windows.ids = from.held_out;
  windows.protocol = "held-out/" + std::to_string(windows.ids.size(1));
  windows.corpus = "held-out";
  windows.sha256 = from.source_sha256;
  windows.text_tokens = windows.ids.numel();
  return windows;
}

std::vector<StageTime> Calibrator::take_times() { return std::exchange(times_, {}); }

}  // namespace mla
