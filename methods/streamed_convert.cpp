#include "methods/streamed_convert.h"

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/model/attention_store.h"
#include "methods/latent_norms.h"
#include "methods/layer_conversion.h"

namespace mla {
namespace {

// Layers without their latents, on disk until the ranks of all are known; of their decompositions allocators see sizes, energies and which rows of
// `up` are zero.
class WaitingLayers {
 public:
  explicit WaitingLayers(const std::filesystem::path& folder) : attention_(folder), scratch_(folder) {}

  void add(HalfConverted half) {
    attention_.add(half.weights);
    Kept& kept = kept_.emplace_back();
    kept.linear = std::move(half.linear);
    if (kept.linear.normed)  // whose widths alone are still wanted
      for (at::Tensor* tensor : {&kept.linear.normed->q, &kept.linear.normed->k, &kept.linear.normed->v}) *tensor = tensor->to(at::kMeta);
    for (SpectrumPart& part : half.spectrum.parts) {
      kept.places.push_back({scratch_.put(part.down), scratch_.put(part.up)});
      part.down = at::empty({part.down.size(0), 0}, at::kDouble);
      part.up = part.up.size(1) > 0 ? part.up.abs().amax(1, true) : part.up;
      part.energies = part.energies.clone();
    }
    spectra_.push_back(std::move(half.spectrum));
  }

  HalfConverted take(int64_t layer) const {
    const Kept& kept = kept_.at(static_cast<std::size_t>(layer));
    HalfConverted half{kept.linear, attention_.read(layer), spectra_.at(static_cast<std::size_t>(layer))};
    for (std::size_t i = 0; i < kept.places.size(); ++i) {
      half.spectrum.parts[i].down = scratch_.get(kept.places[i].first);
      half.spectrum.parts[i].up = scratch_.get(kept.places[i].second);
    }
    return half;
  }
  const std::vector<Spectrum>& spectra() const { return spectra_; }

 private:
  struct Kept {
    LinearLayer linear;
    std::vector<std::pair<std::size_t, std::size_t>> places;  // of down and up of each part
  };
  AttentionStore attention_;
  TensorScratch scratch_;
  std::vector<Kept> kept_;
  std::vector<Spectrum> spectra_;
};

// Down projections of MLPs that healers changed, in a scratch file; of all other layers the original's stay.
class HealedMlps {
 public:
  HealedMlps(const std::filesystem::path& folder, int64_t layers) : scratch_(folder), places_(static_cast<std::size_t>(layers)) {}
  void add(int64_t layer, const at::Tensor& down) { places_.at(static_cast<std::size_t>(layer)) = scratch_.put(down); }
  void apply(int64_t layer, LayerParts parts, DecoderLayer& weights) const {
    const std::optional<std::size_t> place = places_.at(static_cast<std::size_t>(layer));
    if (parts == LayerParts::whole && place) weights.down = scratch_.get(*place).to(weights.down.device());
  }

 private:
  TensorScratch scratch_;
  std::vector<std::optional<std::size_t>> places_;
};

class StreamedConverter {
 public:
  StreamedConverter(const LayerStream& original, const Recipe& recipe, const StreamSource& source)
      : original_(original), recipe_(recipe), source_(source), like_(original.read(0, LayerParts::outline)),
        steps_(recipe, gqa_of(like_.attention, 0), original.frame().dtype(), source.key) {}

  StreamedConversion run() {
    WaitingLayers waiting(source_.scratch);
    decompose_all(waiting);
    const std::vector<LayerRanks> ranks = recipe_.allocator->allocate(waiting.spectra(), for_allocator_);
    converted_ = std::make_shared<AttentionStore>(source_.scratch);
    for (int64_t layer = 0; layer < original_.layers(); ++layer) {
      throw_if_interrupted();
      converted_->add(steps_.finish(waiting.take(layer), ranks[static_cast<std::size_t>(layer)], layer));
    }
    add_norms();
    const Healing healing = recipe_.healers.empty() ? Healing() : heal_all();
    LayerStream made = with_attention(original_, frame(), converted_);
    if (mlps_) made = made.changed(frame(), [mlps = mlps_](int64_t layer, LayerParts parts, DecoderLayer& weights) { mlps->apply(layer, parts, weights); });
    return {std::move(made), ranks, healing};
  }

 private:
  const Decoder& frame() const { return original_.frame(); }

  std::unique_ptr<StatsStream> stats_of(const StatKinds& kinds, const std::string& state) const { return kinds.any() ? source_.stats(frame(), kinds, state) : nullptr; }

  void decompose_all(WaitingLayers& waiting) {
    const std::unique_ptr<StatsStream> first = stats_of(steps_.first_kinds(), "original"), second = stats_of(steps_.second_kinds(), steps_.second_state());
    const auto whole = [](const std::unique_ptr<StatsStream>& stats) { return stats && stats->reads() == LayerParts::whole; };
    const LayerParts parts = whole(first) || whole(second) ? LayerParts::whole : LayerParts::attention;
    Progress progress("Converting", "layers", original_.layers());
    for (int64_t layer = 0; layer < original_.layers(); ++layer) {
      Decoder model = original_.with_layer(layer, original_.read(layer, parts));
      AttentionWeights& attention = model.layers[static_cast<std::size_t>(layer)].attention;
      const LayerStats stats = first ? first->next(model, layer) : LayerStats();
      const GqaWeights gqa = gqa_of(attention, layer);
      Split split = steps_.split(gqa, stats);
      AttentionWeights around = steps_.around_latent(split);
      LayerStats again;
      if (second) {
        attention = steps_.partial_rope(split, around);
        again = second->next(model, layer);
      }
      model = {};  // the MLP is not needed below
      waiting.add(steps_.decompose(gqa, layer, std::move(split), {stats, second ? &again : nullptr}, std::move(around)));
      LayerStats& kept = for_allocator_.emplace_back();
      kept.gradients.key_fisher = stats.gradients.key_fisher, kept.gradients.value_fisher = stats.gradients.value_fisher;
      progress.advance(layer + 1);
    }
  }

  Decoder converted_layer(int64_t layer, LayerParts parts) const {
    DecoderLayer weights = original_.read(layer, parts);
    weights.attention = converted_->read(layer);
    return original_.with_layer(layer, std::move(weights));
  }

  void add_norms() {
    if (recipe_.latent_norm == LatentNorm::none) return;
    const std::string state = latent_scales_state(recipe_.latent_norm, recipe_.label + ' ' + recipe_.options.dump());
    const std::unique_ptr<StatsStream> stats = stats_of({.latent_scales = true}, state);
    for (int64_t layer = 0; layer < original_.layers(); ++layer) {
      Decoder model = converted_layer(layer, stats->reads());
      AttentionWeights& attention = model.layers[static_cast<std::size_t>(layer)].attention;
      if (recipe_.latent_norm == LatentNorm::as_shipped) set_unit_norms(attention, layer);
      const LayerStats measured = stats->next(model, layer);
      set_latent_norms(attention, layer, recipe_.latent_norm, measured.latents);
      converted_->replace(layer, attention);
    }
  }

  Healing heal_all() {
    if (source_.samples == nullptr) fail<ConfigError>("convert", "wanted calibration samples for the healers of ", recipe_.label);
    const Stopwatch watch;
    HealingPass pass(frame(), *source_.samples);
    mlps_ = std::make_shared<HealedMlps>(source_.scratch, original_.layers());
    Progress progress("Healing", "layers", original_.layers());
    for (int64_t layer = 0; layer < original_.layers(); ++layer) {
      const Decoder original = original_.with_layer(layer);
      Decoder converted = original;
      DecoderLayer& weights = converted.layers[static_cast<std::size_t>(layer)];
      weights.attention = converted_->read(layer);
      pass.heal(original, converted, layer, recipe_.healers, LayerStats());
      converted_->replace(layer, weights.attention);
      if (!weights.down.is_same(original.layers[static_cast<std::size_t>(layer)].down)) mlps_->add(layer, weights.down);
      progress.advance(layer + 1);
    }
    return {watch.seconds(), watch.cpu(), source_.samples->tokens()};
  }

  const LayerStream& original_;
  const Recipe& recipe_;
  const StreamSource& source_;
  DecoderLayer like_;
  LayerConversion steps_;
  CalibrationStats for_allocator_;  // what allocators read of the original's statistics
  std::shared_ptr<AttentionStore> converted_;
  std::shared_ptr<HealedMlps> mlps_;  // where there are healers
};

}  // namespace

StreamedConversion convert_streamed(const LayerStream& original, const Recipe& recipe, const StreamSource& source) {
  if (const std::string reason = why_not_streamed(recipe); !reason.empty()) fail<ConfigError>("convert", recipe.label, " cannot be converted layer by layer: ", reason);
  return StreamedConverter(original, recipe, source).run();
}

std::string why_not_streamed(const Recipe& recipe) {
  if (recipe.search) return "options given as auto are found by scoring whole models; give numbers";
  for (const auto& healer : recipe.healers)
    if (healer->needs().any()) return "its healers read statistics of the original, which are dropped by then";
  return "";
}

}  // namespace mla
