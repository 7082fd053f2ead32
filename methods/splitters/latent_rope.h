// mla-retrofit's rope_mode extend (spec: its documentation): RoPE is applied to the key latent itself, regrouped as n heads of
// m dims with the frequencies of an m-dim head.
//
// W_K ~ B A with A [w, D'], w = n m, from an SVD. The latent is first turned by the orthogonal T that brings B T nearest to "head j
// of the latent is KV head j, its pair i the pair of nearest frequency" (polar factor), since a rotation by position commutes with
// nothing else: at n = g and m = d B T is then the identity and the form is exact. Queries read the latent through B T, so
// W_UK is absorbed into W_Q whatever `absorb` says; scores are (R q') . (R A x). With `absorb`, W_UV goes into W_O too and the
// value latent is read as it is.
#pragma once
#include "methods/factorizers/weighted_svd.h"

namespace mla {

struct LatentRopeOptions {
  int64_t heads = 1;  // n
  int64_t dims = 0;   // m, even
  SvdMetric metric = SvdMetric::second_moment;
  bool absorb = false;
};
// Throws ConfigError where the model gives frequencies for its own head width alone and m is another.
// The factorizer behind it: values by weighted_svd, or tied_latent with `absorb`.
std::unique_ptr<Splitter> make_latent_rope(const LatentRopeOptions& options, const ModelConfig& model);

}  // namespace mla
