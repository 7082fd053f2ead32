#include "core/engine/step_graph.h"

#include "core/base/error.h"

namespace mla {

void StepGraph::require(int code, const char* what) const {
  if (code != 0) fail<CudaError>("engine", "wanted to ", what, " a graph of a decode step, got: ", table_->error_text(code), " (", code, ")");
}

bool StepGraph::record(void* stream, const std::function<void()>& step) {
  const int code = table_->graph_begin(stream);
  if (code == gpu::kNoGraphs) return false;
  require(code, "record");
  try {
    step();
  } catch (...) {
    table_->graph_end(stream, nullptr);  // else the stream records for ever
    throw;
  }
  require(table_->graph_end(stream, &graph_), "record");
  return true;
}

void StepGraph::launch(void* stream) const { require(table_->graph_launch(graph_, stream), "launch"); }

}  // namespace mla
