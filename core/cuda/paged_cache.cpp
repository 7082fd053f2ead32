#include "core/cuda/paged_cache.h"

#include <algorithm>
#include <functional>

#include "core/base/error.h"
#include "core/cuda/decode.h"

namespace mla::gpu {
namespace {

int64_t pages_of(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

PagedCachePlan::PagedCachePlan(int32_t sequences, int32_t pages, int32_t max_pages) : pages_(pages), max_pages_(max_pages) {
  if (sequences < 0 || pages < 0 || max_pages < 0) fail<ShapeError>("paged_cache", "wanted sequences and pages of 0 or more, got ", sequences, ", ", pages, " and ", max_pages);
  lengths_.assign(static_cast<std::size_t>(sequences), 0);
  page_table_.assign(static_cast<std::size_t>(sequences) * static_cast<std::size_t>(max_pages), -1);
  for (int32_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t PagedCachePlan::length(int32_t sequence) const {
  if (sequence < 0 || sequence >= static_cast<int32_t>(lengths_.size())) fail<ShapeError>("paged_cache", "wanted a sequence below ", lengths_.size(), ", got ", sequence);
  return lengths_[static_cast<std::size_t>(sequence)];
}

int32_t PagedCachePlan::needed(int32_t sequence, int32_t tokens) const {
  const int64_t before = length(sequence), after = before + tokens;
  if (tokens < 0) fail<ShapeError>("paged_cache", "wanted 0 or more tokens, got ", tokens);
  if (pages_of(after) > max_pages_)
    fail<ResourceError>("paged_cache", "wanted ", after, " tokens of sequence ", sequence, ", but its page table holds ", max_pages_, " pages of ", kPageTokens,
                        " tokens; plan the cache for longer sequences");
  return static_cast<int32_t>(pages_of(after) - pages_of(before));
}

void PagedCachePlan::take(int32_t sequence, int32_t tokens) {
  int32_t& length = lengths_[static_cast<std::size_t>(sequence)];
  int32_t* row = page_table_.data() + static_cast<int64_t>(sequence) * max_pages_;
  for (int64_t page = pages_of(length); page < pages_of(static_cast<int64_t>(length) + tokens); ++page) {
    row[page] = free_.back();
    free_.pop_back();
  }
  length += tokens;
}

void PagedCachePlan::append(int32_t sequence, int32_t tokens) {
  const int32_t more = needed(sequence, tokens);
  if (more > free_pages())
    fail<ResourceError>("paged_cache", "wanted ", more, " more pages for sequence ", sequence, ", but ", free_pages(), " of ", pages_, " are free; use a smaller batch or a larger cache");
  take(sequence, tokens);
}

void PagedCachePlan::append_all(int32_t tokens) {
  int64_t more = 0;
  const auto count = static_cast<int32_t>(lengths_.size());
  for (int32_t sequence = 0; sequence < count; ++sequence) more += needed(sequence, tokens);
  if (more > free_pages())
    fail<ResourceError>("paged_cache", "wanted ", more, " more pages for ", count, " sequences, but ", free_pages(), " of ", pages_, " are free; use a smaller batch or a larger cache");
  for (int32_t sequence = 0; sequence < count; ++sequence) take(sequence, tokens);
}

void PagedCachePlan::drop(int32_t sequence, int32_t tokens) {
  if (tokens < 0 || tokens > length(sequence)) fail<ShapeError>("paged_cache", "wanted 0 to ", length(sequence), " tokens to drop, got ", tokens);
  int32_t& length = lengths_[static_cast<std::size_t>(sequence)];
  int32_t* row = page_table_.data() + static_cast<int64_t>(sequence) * max_pages_;
  for (int64_t page = pages_of(length) - 1; page >= pages_of(length - tokens); --page) {
    free_.push_back(row[page]);
    row[page] = -1;
  }
  std::sort(free_.begin(), free_.end(), std::greater<>());
  length -= tokens;
}

int64_t sequences_within(int64_t bytes, int64_t page_bytes, int64_t tokens) {
  if (page_bytes < 1 || tokens < 1) fail<ShapeError>("paged_cache", "wanted pages of at least a byte and sequences of at least a token, got ", page_bytes, " and ", tokens);
  return std::max<int64_t>(0, bytes / page_bytes / pages_of(tokens));
}

}  // namespace mla::gpu
