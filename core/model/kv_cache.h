// What one layer remembers of past tokens; the number of values per token is counted here and nowhere else.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace mla {

// Two streams per layer, both [B, T, width]: GQA keys and values; MLA latent and rope key; low-rank key and value latents.
struct LayerCache {
  at::Tensor first, second;  // undefined while empty
  int64_t length() const { return first.defined() ? first.size(1) : 0; }
  // Values kept per token (0 while empty).
  int64_t values_per_token() const { return first.defined() ? first.size(2) + second.size(2) : 0; }
  // Appends [B, more, width] to both streams.
  void append(const at::Tensor& more_first, const at::Tensor& more_second);

 private:
  at::Tensor first_store_, second_store_;  // grown by doubling; first and second are views of them
};

struct KvCache {
  std::vector<LayerCache> layers;
  int64_t length() const { return layers.empty() ? 0 : layers.front().length(); }
};

}  // namespace mla
