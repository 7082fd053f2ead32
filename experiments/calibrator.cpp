#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "experiments/data_root.h"
#include "experiments/pipeline.h"

namespace mla {
Calibrator::Calibrator(const CalibrationFlags& flags, const std::string& data_root, const Tokenizer& tokenizer,
                       std::string model_key, const Recipe& recipe)
    : model_key_(std::move(model_key)), use_cache_(!flags.no_cache) {
  if (!recipe.needs().any() && recipe.healers.empty()) return;
  require_calibration(flags, recipe.label);
  const StageTimer timer(times_, "sample");
  if (!flags.ids.empty()) {
    samples_ = samples_from_ids(flags.ids, tokenizer.vocab_size());
    input_ = InputHash{"calibration", flags.ids, samples_.source_sha256};
    config_ = {{"ids", samples_.key}, {"tokens", samples_.tokens()}};
  } else {
    const Text text = find_text(flags.dataset, TextRole::calibration, data_root);
    if (text.warning) warnings_.push_back(*text.warning);
    samples_ = sample_text(text.path, tokenizer, flags.samples);
    input_ = InputHash{"calibration", flags.dataset, samples_.source_sha256};
    config_ = {{"dataset", text.name}, {"nsamples", flags.samples.samples}, {"max_seqlen", flags.samples.max_seqlen},
               {"batch_size", flags.samples.batch_size}, {"seed", flags.samples.seed}, {"tokens", samples_.tokens()}};
  }
}

CalibrationStats Calibrator::collect(const Decoder& model, const StatKinds& kinds, const std::string& state) {
  const StageTimer timer(times_, state == "original" ? "calibrate" : "recalibrate");
  const auto run = [&] { return collect_stats(model, samples_, kinds); };
  if (!use_cache_) return run();
  bool hit = false;
  CalibrationStats stats = cached_stats("statistics 2\n" + model_key_ + '\n' + samples_.key + '\n' + state + names_of(kinds), run, &hit);
  if (hit) status("Calibrated", "statistics of " + std::to_string(samples_.tokens()) + " tokens found in the cache");
  return stats;
}

ConversionSource Calibrator::callback() {
  const std::string key = use_cache_ ? model_key_ + '\n' + samples_.key : "";
  return {[this](const Decoder& model, const StatKinds& kinds, const std::string& state) { return collect(model, kinds, state); }, key};
}

}  // namespace mla
