// Every attention layer as linear maps of one vector, so that splitters and factorizers need not know of biases or q/k norms.
#pragma once
#include "methods/parts.h"

namespace mla {

// What x is:                                              D'
//   plain      the layer's normed input                   D
//   biased     [x; 1]: biases are the last column         D + 1
//   normed     [norm(q); norm(k); v] before rotation      H*h + 2*G*h   (rows of q, k, v are then selectors)
struct LinearLayer {
  GqaWeights weights;  // q, k, v [., D'] in fp64, on the layer's device; o as it was
  LayerStats stats;    // there too; `input` holds the moments of x
  bool biased = false;
  std::optional<NormedProjections> normed;  // the original's own projections, where x is normed
  std::optional<QkNorm> norm;               // CacheForm::rebuilt: rebuilt keys are normed before rotation
  at::Tensor o_bias;
};

// Which statistics of the original stand for input moments under the recipe's form.
StatKinds kinds_for(const GqaWeights& layer, CacheForm form, StatKinds wanted);

// In CacheForm::latent the rope plan's attention_factor f is in q: rows of rotated dims carry f^2, the plan's factor is 1, so that dims
// that lose their rotation keep it.
LinearLayer linear_layer(const GqaWeights& layer, const LayerStats& stats, CacheForm form);

// Rows of a map of x split into what a layer stores: weight [m, D] (or the columns that it reads) and bias [m] or undefined.
struct Affine {
  at::Tensor weight, bias;
};
enum class Reads { queries, keys_and_values };  // which part of a normed x
Affine affine(const LinearLayer& layer, const at::Tensor& rows, Reads reads, at::ScalarType dtype);

}  // namespace mla
