#include "experiments/searcher.h"

#include <cstdio>
#include <map>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {
namespace {

// The options in which a candidate differs from what was asked for.
Json changes(const Json& candidate, const Json& asked) {
  Json changed = Json::object();
  for (const auto& item : candidate.items())
    if (!asked.contains(item.key()) || asked.at(item.key()) != item.value()) changed[item.key()] = item.value();
  return changed;
}

double perplexity_of(const Recipe& recipe, const Decoder& original, const CollectStats& collect, const CalibrationSamples* samples, const Windows& windows) {
  const Decoder stage = recipe.search_scores_partial_rope ? partial_rope_model(original, recipe, collect) : convert(original, recipe, collect, samples).converted;
  DecoderModel model(stage);
  return score_windows({{recipe.search_scores_partial_rope ? "partial_rope" : "mla", &model}}, windows, {})[0].perplexity;
}

}  // namespace

Resolved resolve_recipe(const MethodFlags& method, Recipe recipe, const LoadedModel& model, Calibrator& calibrator, const Windows* test) {
  if (!recipe.search) return {std::move(recipe), {}, {}, {}};
  const bool on_test = calibrator.selects_on_test();
  if (on_test && test == nullptr) fail<UsageError>("search", "wanted windows for --select-on test, got no corpus; use `mlaforge run`, or --select-on calibration");
  const Windows windows = on_test ? *test : calibrator.held_out();
  const Json asked = method_options(method);
  const Stopwatch watch;
  const std::size_t stages_before = calibrator.times().size();

  Json candidates = Json::array();
  std::map<std::string, CalibrationStats> measured;  // of the original: every candidate reads the same
  const CollectStats collect = [&](const Decoder& decoder, const StatKinds& kinds, const std::string& state) {
    if (state != "original") return calibrator.collect_for_search(decoder, kinds, state);
    const auto found = measured.find(names_of(kinds));
    if (found != measured.end()) return found->second;
    return measured.emplace(names_of(kinds), calibrator.collect_for_search(decoder, kinds, state)).first->second;
  };
  const ScoreOptions score = [&](const Json& options) {
    const Recipe candidate = find_recipe(method.method).make(options, model.decoder.config);
    const double perplexity = perplexity_of(candidate, model.decoder, collect, calibrator.search_samples(), windows);
    const Json changed = changes(options, asked);
    candidates.push_back({{"options", changed}, {"perplexity", perplexity}});
    char text[64];
    std::snprintf(text, sizeof text, ": perplexity %.4f", perplexity);
    status("Searching", changed.dump() + text);
    return perplexity;
  };
  const Json chosen = recipe.search(score);

  Resolved resolved{find_recipe(method.method).make(chosen, model.decoder.config), {}, {}, {}};
  resolved.search = {{"select_on", on_test ? "test" : "calibration"}, {"windows", windows.ids.size(0)}, {"window", windows.ids.size(1)},
                     {"candidates", candidates}, {"chosen", changes(chosen, asked)}};
  if (on_test) resolved.warnings.push_back("options were chosen on the test windows (" + changes(chosen, asked).dump() + "): the perplexity is optimistic");
  StageTime rest{"search", watch.seconds(), watch.cpu()};
  for (std::size_t i = stages_before; i < calibrator.times().size(); ++i) rest.seconds -= calibrator.times()[i].seconds, rest.cpu_seconds -= calibrator.times()[i].cpu_seconds;
  resolved.times.push_back(rest);
  return resolved;
}

}  // namespace mla
