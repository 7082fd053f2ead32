// Attention of one new token of each sequence, by the form of the weights. B sequences.
#pragma once
#include <memory>

#include "core/engine/paged_layer.h"

namespace mla {

class AttentionStep {
 public:
  virtual ~AttentionStep() = default;
  // x [B,D], normed  ->  out [B,D]. The token's rows join the cache.
  virtual void run(const at::Tensor& x, const at::Tensor& out) = 0;
  PagedLayer& cache() { return cache_; }
  const PagedLayer& cache() const { return cache_; }

 protected:
  explicit AttentionStep(PagedLayer cache) : cache_(std::move(cache)) {}
  PagedLayer cache_;
};

// `weights`, `batch` and `buffers` must outlive it. Throws ShapeError for widths that the operators do not take.
std::unique_ptr<AttentionStep> make_attention_step(const AttentionWeights& weights, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers);

}  // namespace mla
