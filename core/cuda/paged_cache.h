// Which pages of 64 tokens each sequence of a batch owns: host-side bookkeeping for the operators' page tables. No memory of a card.
#pragma once
#include <cstdint>
#include <vector>

namespace mla::gpu {

class PagedCachePlan {
 public:
  // `pages` pages, sequences of at most max_pages each. Throws ShapeError for negative numbers.
  PagedCachePlan(int32_t sequences, int32_t pages, int32_t max_pages);

  // Grows a sequence by `tokens`, taking free pages where its last one is full. Throws ResourceError, and takes nothing, when the sequence would
  // need more than max_pages, or more than are free.
  void append(int32_t sequence, int32_t tokens);
  // The same for all sequences, or for none of them.
  void append_all(int32_t tokens);
  // Its last `tokens` go; pages that hold no token any more are free again. Throws ShapeError for more than it has.
  void drop(int32_t sequence, int32_t tokens);
  void clear(int32_t sequence) { drop(sequence, length(sequence)); }

  int32_t length(int32_t sequence) const;
  const std::vector<int32_t>& lengths() const { return lengths_; }         // [B]
  const std::vector<int32_t>& page_table() const { return page_table_; }   // [B, max_pages]; -1 where there is no page
  int32_t max_pages() const { return max_pages_; }
  int32_t pages() const { return pages_; }
  int32_t free_pages() const { return static_cast<int32_t>(free_.size()); }

 private:
  int32_t needed(int32_t sequence, int32_t tokens) const;  // pages that it does not have yet
  void take(int32_t sequence, int32_t tokens);
  int32_t pages_, max_pages_;
  std::vector<int32_t> lengths_, page_table_, free_;  // free_: taken from its end, the lowest page first
};

// The most sequences of `tokens` tokens whose pages fit into `bytes`, one page costing page_bytes over all layers; 0: not one.
int64_t sequences_within(int64_t bytes, int64_t page_bytes, int64_t tokens);

}  // namespace mla::gpu
