// Dense maths of a step into tensors that are there before it: nothing is allocated, so that a graph of the step may be run again.
#pragma once
#include <map>
#include <string>

#include "core/engine/machine.h"

namespace mla {

// What layers use one after another: equal names and sizes are the same memory.
class StepBuffers {
 public:
  explicit StepBuffers(const at::TensorOptions& options) : options_(options) {}
  at::Tensor get(const std::string& name, at::IntArrayRef sizes) { return get(name, sizes, options_.dtype().toScalarType()); }
  at::Tensor get(const std::string& name, at::IntArrayRef sizes, at::ScalarType dtype);
  const at::TensorOptions& options() const { return options_; }
  gpu::Type type() const { return type_of(options_.dtype().toScalarType()); }

 private:
  at::TensorOptions options_;
  std::map<std::string, at::Tensor> known_;
};

// x weight^T (+ bias, rounded once with the sum).  x [B,k]  weight [m,k]  bias [m], optional  ->  out [B,m]
void project_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// x <- x * rsqrt(mean(x^2) + eps) * weight, row by row.  x [...,n] contiguous  weight [n]
void norm_rows(const EngineMachine& machine, const at::Tensor& x, const at::Tensor& weight, double eps);

// Each head's row by its group's matrix: x [B,H,k], w [G,k,m]  ->  out [B,H,m]; head i reads group i / (H/G).
class GroupedProduct {
 public:
  GroupedProduct() = default;
  GroupedProduct(const at::Tensor& w, int64_t batch, int64_t heads, StepBuffers& buffers);
  void apply(const at::Tensor& x, const at::Tensor& out) const;

 private:
  at::Tensor w_;
  at::Tensor rows_, products_;  // [G,B,H/G,k] and [G,B,H/G,m] where groups have several heads
};

}  // namespace mla
