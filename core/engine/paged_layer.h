// A layer's cache in pages and one step's attention over it.
// Of integer caches the last `residual` tokens, and the one that is fed, are kept as they are, in a ring of pages; a token that leaves it
// becomes integers (core/model/kv_cache.h, ResidualRule::window). Attention over the two parts is joined by its log sums.
#pragma once
#include <algorithm>
#include <optional>

#include "core/cuda/paged_cache.h"
#include "core/engine/paged_stream.h"
#include "core/engine/step_tensors.h"
#include "core/model/attention.h"

namespace mla {

// Pages that sequences own, in every layer the same.
struct PageTable {
  at::Tensor pages;   // [B, max_pages] int32
  int64_t count = 0;
};

// What all layers share: the pages, and where the sequences stand, on the device.
struct EngineBatch {
  std::vector<int32_t> room;  // [B] tokens that the cache of each sequence holds at the most
  CacheFormat format;
  PageTable whole;
  PageTable ring;             // of integer caches
  at::Tensor sequence;        // [B] int32: 0 .. B-1
  at::Tensor position;        // [B] int32, of the token that is fed
  at::Tensor length;          // [B] int32: position + 1
  // Of integer caches:
  at::Tensor leaving;         // [B] int32: position of the token that leaves the ring; negative: none
  at::Tensor leaving_row;     // [B] int64: its row in the ring
  at::Tensor quantised;       // [B] int32: tokens that attention reads as integers
  int64_t size() const { return static_cast<int64_t>(room.size()); }
  int64_t longest() const { return *std::max_element(room.begin(), room.end()); }
};

// What a form of attention caches and how its scores are made.
struct CacheShape {
  gpu::DecodeShape decode;  // its kind is the type's own
  StreamShape first, second;  // GQA: keys, values. MLA: latent, rope key
  bool first_is_rotated = false;
  double scale = 1;
  ScoreLimits limits;
  RopePlan rope;
};
CacheShape cache_shape(const GqaWeights& weights, int64_t batch, gpu::Type type);
CacheShape cache_shape(const MlaWeights& weights, int64_t batch, gpu::Type type);
CacheShape quantised(CacheShape shape, const QuantFormat& format);  // with integers of the format; rope keys stay as they are

class PagedLayer {
 public:
  PagedLayer(const CacheShape& shape, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers);

  struct NewRows {
    at::Tensor plain;    // [B,W]
    at::Tensor rotated;  // [B,G*d]
    at::Tensor queries;  // [B,H,d], any strides of the first two: rotated in place
  };
  // The rows of the tokens that are fed, behind those in the cache.
  void append(const NewRows& rows) const;
  // q [B,H,r or h]  q_rope [B,H,d_R], undefined without  ->  out [B,H,r or h], contiguous
  void mix(const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const;

  // Tokens 0 .. T-1 of the sequences first .. first+S-1, as LayerCache gives them back.  [S,T,width] each
  void adopt(int64_t first, const LayerCache::Streams& rows) const;
  // What feeding overwrites beside rows of new tokens, and back again.
  void save();
  void restore() const;

  int64_t bytes(int64_t tokens) const;  // of a sequence, without what its last page has left over
  int64_t page_bytes() const;           // of one page of whole sequences
  const PagedStream& first() const { return whole_.first; }
  const PagedStream& second() const { return whole_.second; }

 private:
  struct Store {
    PagedStream first, second;
    const PageTable* table = nullptr;
  };
  gpu::CacheAppendArgs append_args(const PageTable& table, const at::Tensor& sequence, const at::Tensor& position) const;
  void copy_rows(const Store& store, const PagedStream& stream, const at::Tensor& rows, const at::Tensor& sequence, const at::Tensor& position) const;
  void quantise_leaving() const;
  gpu::DecodeArgs decode_args(const Store& store, const at::Tensor& lengths, int64_t window) const;
  void decode(gpu::DecodeArgs args, const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const;
  void mix_both(const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const;
  const Store& newest() const { return recent_ ? *recent_ : whole_; }

  CacheShape shape_;
  EngineMachine machine_;
  const EngineBatch& batch_;
  Store whole_;
  std::optional<Store> recent_;
  RopeTable angles_;  // [positions, rope_heads, d/2]
  gpu::DecodeArgs newest_decode_, old_decode_;
  at::Tensor leaving_first_, leaving_second_;  // [B, bytes of a row]
  at::Tensor sums_, old_sums_, old_out_, weight_, wide_, old_wide_;
  at::Tensor saved_first_, saved_second_;
};

// Angles of every position below `count` as decoding has them: each token's own length, where frequencies follow that.
RopeTable decode_angles(const RopePlan& plan, int64_t count, at::Device device);

}  // namespace mla
