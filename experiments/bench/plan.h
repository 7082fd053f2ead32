// How many sequences fit into a memory, and how a number of equal requests is served in static batches: TransMLA's protocol of
// throughput (arXiv 2502.07864, section 5.4 and Table 4), as plain arithmetic.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mla {

// What a model takes of a memory, in bytes.
struct MemoryNeeds {
  int64_t weights = 0;
  int64_t activations_per_token = 0;  // of one forward, for each token in it
  int64_t logits_per_sequence = 0;
  int64_t layers = 1;
  std::function<int64_t(int64_t tokens)> cache;  // of one sequence, all layers
};

// Beside weights and caches: activations of the tokens that are read at once (`chunk`, or one of each sequence where those are more), the
// logits, and a copy of one layer's caches while its attention reads them.
int64_t workspace_bytes(const MemoryNeeds& needs, int64_t sequences, int64_t context, int64_t chunk);

// Sequences of `context` tokens each that fit beside the weights; 0 where not even one does.
int64_t largest_batch(const MemoryNeeds& needs, int64_t memory, int64_t context, int64_t chunk);

// Sizes of the fewest batches of at most `largest` that hold all requests, as equal as can be, larger ones first.
std::vector<int64_t> batches_of(int64_t requests, int64_t largest);

struct ProtocolOptions {
  int64_t requests = 100;
  std::vector<int64_t> contexts{1024, 2048, 4096, 8192, 16384, 32768};  // half prompt, half output
  std::vector<double> budgets{24, 40, 64};  // GiB
  int64_t chunk = 2048;
};

// One context under one budget by one model.
struct ProtocolCell {
  int64_t context = 0, memory = 0;  // tokens, bytes
  int64_t largest = 0;              // sequences that fit; 0: out of memory
  std::vector<int64_t> batches;     // empty: out of memory
  int64_t cache_per_sequence = 0, cache_bytes = 0;  // of a full sequence, and of the largest batch that runs
  int64_t prompt() const { return context / 2; }
  int64_t output() const { return context - context / 2; }
};

// Throws UsageError for a context below 2 tokens or a budget or number of requests that is not above 0.
void check_protocol(const ProtocolOptions& options);

// Cells by budget, then by context. Throws as check_protocol does.
std::vector<ProtocolCell> plan_protocol(const MemoryNeeds& needs, const ProtocolOptions& options);

}  // namespace mla
