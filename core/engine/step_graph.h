// A step recorded once and launched as one: a CUDA graph, made by the kernels' module.
#pragma once
#include <functional>

#include "core/cuda/table.h"

namespace mla {

class StepGraph {
 public:
  explicit StepGraph(const gpu::CudaTable& table) : table_(&table) {}
  ~StepGraph() { table_->graph_release(graph_); }
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Records what `step` gives `stream`, which is not the default one; none of it runs. `step` allocates nothing that outlives it, and uses
  // the stream alone: memory of the stream that it takes and returns is used again by each launch. False on the host, which has no graphs.
  // Throws CudaError, and what `step` throws.
  bool record(void* stream, const std::function<void()>& step);
  void launch(void* stream) const;
  bool recorded() const { return graph_ != nullptr; }

 private:
  void require(int code, const char* what) const;
  const gpu::CudaTable* table_;
  void* graph_ = nullptr;
};

}  // namespace mla
