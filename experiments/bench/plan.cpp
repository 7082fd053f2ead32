#include "experiments/bench/plan.h"

#include <algorithm>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int64_t kMostSequences = 1 << 20;
constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

bool fits(const MemoryNeeds& needs, int64_t memory, int64_t sequences, int64_t context, int64_t chunk) {
  return needs.weights + sequences * needs.cache(context) + workspace_bytes(needs, sequences, context, chunk) <= memory;
}

ProtocolCell plan_cell(const MemoryNeeds& needs, double budget, int64_t context, const ProtocolOptions& options) {
  ProtocolCell cell;
  cell.context = context;
  cell.memory = static_cast<int64_t>(budget * kGib);
  cell.largest = largest_batch(needs, cell.memory, context, options.chunk);
  cell.cache_per_sequence = needs.cache(context);
  if (cell.largest > 0) cell.batches = batches_of(options.requests, cell.largest);
  if (!cell.batches.empty()) cell.cache_bytes = cell.batches.front() * cell.cache_per_sequence;
  return cell;
}

}  // namespace

int64_t workspace_bytes(const MemoryNeeds& needs, int64_t sequences, int64_t context, int64_t chunk) {
  const int64_t tokens = std::max(sequences, std::min(chunk, sequences * context));
  return tokens * needs.activations_per_token + sequences * (needs.logits_per_sequence + needs.cache(context) / needs.layers);
}

int64_t largest_batch(const MemoryNeeds& needs, int64_t memory, int64_t context, int64_t chunk) {
  if (!fits(needs, memory, 1, context, chunk)) return 0;
  int64_t fit = 1, too_many = kMostSequences;
  while (too_many - fit > 1) {
    const int64_t middle = fit + (too_many - fit) / 2;
    (fits(needs, memory, middle, context, chunk) ? fit : too_many) = middle;
  }
  return fit;
}

std::vector<int64_t> batches_of(int64_t requests, int64_t largest) {
  const int64_t count = (requests + largest - 1) / largest;
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < count; ++i) sizes.push_back(requests / count + (i < requests % count ? 1 : 0));
  return sizes;
}

void check_protocol(const ProtocolOptions& options) {
  if (options.requests < 1) fail<UsageError>("bench", "wanted --requests above 0, got ", options.requests);
  for (const double budget : options.budgets)
    if (!(budget > 0)) fail<UsageError>("bench", "wanted --budgets above 0 GiB, got ", budget);
  for (const int64_t context : options.contexts)
    if (context < 2) fail<UsageError>("bench", "wanted --contexts of at least 2 tokens, half prompt and half output, got ", context);
}

std::vector<ProtocolCell> plan_protocol(const MemoryNeeds& needs, const ProtocolOptions& options) {
  check_protocol(options);
  std::vector<ProtocolCell> cells;
  for (const double budget : options.budgets)
    for (const int64_t context : options.contexts) cells.push_back(plan_cell(needs, budget, context, options));
  return cells;
}

}  // namespace mla
