// RMS norms on the latents of a converted model, where DeepSeek's classes have them and the original had none. A norm divides each
// token's latent by its own rms, so no weight gives the latent back exactly. On a new model the weight is one number:
//   as_shipped  mean of 1/rms of [latent; rope key], measured with unit norms in place, as TransMLA's --use-qkv-norm stores it:
//               the inverse of what would restore the scale, so it is destructive
//   calibrated  mean of rms over the calibration tokens of the model without norms: the number nearest to the latent in squares
#pragma once
#include "methods/convert.h"

namespace mla {

// One layer's norms: the weight that `scales` gives, and before anything is measured the unit norms that as_shipped measures under.
// Throw ConfigError where the layer has no latent.
void set_latent_norms(AttentionWeights& attention, int64_t layer, LatentNorm kind, const LatentScales& scales);
void set_unit_norms(AttentionWeights& attention, int64_t layer);
// Names the statistics of a model that `state` names.
std::string latent_scales_state(LatentNorm kind, const std::string& state);

// Sets kv_a_norm, and q_a_norm where there is a query latent. `state` names the model for the cache of statistics.
// Throws ConfigError where a layer has no latent.
void add_latent_norms(Decoder& converted, LatentNorm kind, const CollectStats& collect, const std::string& state);

}  // namespace mla
