#include <algorithm>

#include "core/base/error.h"
#include "core/cuda/decode.h"
#include "core/cuda/kernels/decode_layout.h"
#include "core/cuda/kernels/decode_wgmma_layout.h"

namespace mla::gpu {
namespace {

constexpr int32_t kLargestWidth = 1024, kLargestRope = 256;
constexpr int32_t kMaxStages = 3, kMaxWaves = 8;
constexpr int64_t kReservedShared = 1024;  // of every block, by the driver; the most that a block may ask for leaves room for it once
constexpr int64_t kSplitCost = 2;  // of starting and combining a split, in pages

void check_shape(const DecodeShape& s) {
  const auto within = [](const char* what, int64_t got, int64_t least, int64_t most) {
    if (got < least || got > most) fail<ShapeError>("decode", "wanted ", what, " of ", least, " to ", most, ", got ", got);
  };
  within("a batch", s.batch, 0, 1 << 20);
  within("query heads", s.heads, 1, 1024);
  within("key heads", s.groups, 1, s.heads);
  within("key_dim", s.key_dim, 1, kLargestWidth);
  within("value_dim", s.value_dim, 1, kLargestWidth);
  within("rope_dim", s.rope_dim, 0, kLargestRope);
  if (s.heads % s.groups != 0) fail<ShapeError>("decode", "wanted query heads a multiple of key heads, got ", s.heads, " and ", s.groups);
  if (s.values_are_keys && s.value_dim > s.key_dim) fail<ShapeError>("decode", "wanted values that are the first dims of keys, got value_dim ", s.value_dim, " above key_dim ", s.key_dim);
  if (is_quantised(s.kind)) {
    within("quant_group", s.quant_group, 2, 1 << 16);
    if (s.quant_group % 2 != 0) fail<ShapeError>("decode", "wanted an even quant_group, got ", s.quant_group);
  } else if (static_cast<int32_t>(s.kind) != static_cast<int32_t>(s.type)) {
    fail<ShapeError>("decode", "wanted a cache in the dtype of the queries, int8 or int4; got another dtype");
  }
}

// Do the tensor cores' kernels take these widths?
bool fits_tiles(const DecodeShape& s) {
  if (s.type == Type::fp32 || s.key_dim % 16 != 0 || s.rope_dim % 16 != 0 || s.value_dim % 16 != 0) return false;
  const bool quantised = is_quantised(s.kind);
  if (s.values_are_keys ? s.value_dim != s.key_dim : s.value_dim > kNarrowValues || s.key_dim > kNarrowValues || s.rope_dim > 0 || quantised) return false;
  const int32_t room = (s.value_dim <= kNarrowValues ? kNarrowValues : kWideValues) + kRopeRoom;
  if (s.value_dim > kWideValues || s.key_dim + s.rope_dim > room) return false;
  return !quantised || (row_bytes(s.kind, s.key_dim) % 16 == 0 && s.quant_group % kChunk == 0);
}

// The most stages of a block that fit; 0: not one.
int32_t stages_within(const DecodeShape& s, int rows, int64_t shared_bytes) {
  for (int32_t stages = kMaxStages; stages > 0; --stages)
    if (decode_layout(s, rows, stages).total <= shared_bytes) return stages;
  return 0;
}

// Rows of a block: one pass over a page where a group's heads fit, and two pages in flight.
void choose_rows(const DecodeShape& s, const CardLimits& card, DecodePlan& plan) {
  if (!card.tensor_cores || !fits_tiles(s)) return;
  const int32_t share = s.heads / s.groups;
  const bool all_rows = s.values_are_keys && !is_quantised(s.kind);
  int32_t rows = share <= 16 || !s.values_are_keys ? 16 : share <= 32 || !all_rows ? 32 : 64;
  for (; rows >= 16; rows /= 2) {
    const int32_t stages = stages_within(s, rows, card.shared_bytes);
    if (stages >= 2 || (stages == 1 && rows == 16)) {
      plan.rows = rows;
      plan.stages = stages;
      plan.shared_bytes = decode_layout(s, rows, stages).total;
      return;
    }
  }
}

// The kernel that was asked for, whatever else would fit.
void take_warpgroups(const DecodeShape& s, const CardLimits& card, DecodePlan& plan) {
  if (!card.warpgroups || card.shared_bytes < WarpgroupLayout::total)
    fail<CudaError>("decode", "wanted a card of compute capability 9.0 with ", WarpgroupLayout::total, " bytes of shared memory a block for the wgmma kernel, got another card");
  if (!fits_warpgroups(s))
    fail<ShapeError>("decode", "wanted an fp16 or bf16 latent of multiples of 16 up to ", kLargestLatent, " and rope dims of multiples of 16 up to ", kSlabValues,
                     " for the wgmma kernel, got ", s.values_are_keys ? "a latent of " : "keys of ", s.key_dim, " and ", s.rope_dim, is_quantised(s.kind) ? ", quantised" : "");
  plan.kernel = DecodeKernel::wgmma;
  plan.rows = kWarpgroupRows;
  plan.stages = 2;
  plan.shared_bytes = WarpgroupLayout::total;
}

}  // namespace

DecodePlan plan_decode(const DecodeShape& s, const std::vector<int32_t>& lengths, int32_t window, const CardLimits& card) {
  check_shape(s);
  if (static_cast<int64_t>(lengths.size()) != s.batch) fail<ShapeError>("decode", "wanted ", s.batch, " lengths, got ", lengths.size());
  if (window < 0) fail<ShapeError>("decode", "wanted a window of 0 or more tokens, got ", window);
  DecodePlan plan;
  if (card.kernel == DecodeKernel::wgmma) take_warpgroups(s, card, plan);
  else choose_rows(s, card, plan);
  const int64_t share = s.heads / s.groups, tiles = plan.rows > 0 ? s.groups * ((share + plan.rows - 1) / plan.rows) : s.heads;
  std::vector<int64_t> pages;
  int64_t longest = 1;
  for (const int32_t length : lengths) {
    if (length < 0) fail<ShapeError>("decode", "wanted lengths of 0 or more tokens, got ", length);
    const PageRange range = visible_pages(length, window);
    pages.push_back(range.end - range.first);
    longest = std::max(longest, pages.back());
  }
  const auto blocks = [&](int64_t per_split) {
    int64_t sum = 0;
    for (const int64_t count : pages) sum += (count + per_split - 1) / per_split;
    return sum * tiles;
  };
  // Blocks that the card holds at once: two per multiprocessor where shared memory lets them, else one; of plain blocks more.
  const int64_t per_processor = plan.rows == 0 ? 4 : 2 * plan.shared_bytes + kReservedShared <= card.shared_bytes && s.value_dim <= kNarrowValues ? 2 : 1;
  const int64_t slots = std::max<int64_t>(1, card.multiprocessors * per_processor);
  int64_t best_cost = -1;
  for (int64_t waves = 1; waves <= kMaxWaves; ++waves) {
    int64_t low = 1, high = longest;  // the fewest pages per split whose blocks fit into so many waves
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (blocks(middle) <= waves * slots) high = middle;
      else low = middle + 1;
    }
    const int64_t rounds = (blocks(low) + slots - 1) / slots, cost = rounds * (low + kSplitCost);
    if (best_cost < 0 || cost < best_cost) {
      best_cost = cost;
      plan.pages_per_split = static_cast<int32_t>(low);
    }
  }
  plan.max_splits = static_cast<int32_t>((longest + plan.pages_per_split - 1) / plan.pages_per_split);
  if (plan.max_splits > 1)
    plan.workspace_bytes = static_cast<int64_t>(s.batch) * s.heads * plan.max_splits * (s.value_dim + 1) * static_cast<int64_t>(sizeof(float));
  return plan;
}

namespace {

// Rows that tensor-core kernels copy in 16-byte chunks.
bool chunked(const PagedRows& rows, int64_t bytes_times_two) {  // twice the bytes of a value: int4 has half a byte
  const auto whole = [&](int64_t stride) { return stride * bytes_times_two % 32 == 0; };
  return reinterpret_cast<uintptr_t>(rows.data) % 16 == 0 && whole(rows.page_stride) && whole(rows.row_stride) && whole(rows.group_stride);
}

void require(bool holds, const char* wanted) {
  if (!holds) fail<ShapeError>("decode", "wanted ", wanted);
}

// The rest of a plan for the mma kernel.
void check_tiles(const DecodeArgs& a) {
  const DecodeShape& s = a.shape;
  const int32_t most = !s.values_are_keys ? 16 : is_quantised(s.kind) ? 32 : 64;
  require((a.plan.rows == 16 || a.plan.rows == 32 || a.plan.rows == 64) && a.plan.rows <= most && a.plan.stages >= 1 && a.plan.stages <= kMaxStages, "a plan of plan_decode()");
  require(fits_tiles(s) && a.plan.shared_bytes == decode_layout(s, a.plan.rows, a.plan.stages).total, "a plan of this shape");
}

}  // namespace

void check_decode(const DecodeArgs& a) {
  const DecodeShape& s = a.shape;
  check_shape(s);
  if (s.batch == 0) return;
  require(a.q != nullptr && a.out != nullptr && a.page_table != nullptr && a.lengths != nullptr && a.key.data != nullptr, "q, out, page table, lengths and keys, got a null pointer");
  require(s.rope_dim == 0 || (a.q_rope != nullptr && a.rope.data != nullptr), "q_rope and rope keys beside rope_dim, got a null pointer");
  require(s.values_are_keys || a.value.data != nullptr, "values, got a null pointer");
  require(!is_quantised(s.kind) || (a.affine.data != nullptr && (s.values_are_keys || a.value_affine.data != nullptr)), "scales and minima of quantised rows, got a null pointer");
  require(a.max_pages >= 0 && a.page_count >= 0 && a.page_table_stride >= a.max_pages, "a page table of max_pages columns");
  require(a.plan.pages_per_split > 0 && a.plan.max_splits > 0 && a.plan.max_splits <= 65535, "a plan of plan_decode()");
  require(a.plan.max_splits == 1 || a.workspace != nullptr, "a workspace of plan.workspace_bytes, got a null pointer");
  if (a.plan.rows == 0 && a.plan.kernel == DecodeKernel::fitting) return;
  if (a.plan.kernel == DecodeKernel::wgmma) {
    require(fits_warpgroups(s) && a.plan.rows == kWarpgroupRows && a.plan.stages == 2 && a.plan.shared_bytes == WarpgroupLayout::total, "a plan of this shape");
  } else {
    check_tiles(a);
  }
  const int64_t twice = s.kind == CacheKind::int4 ? 1 : s.kind == CacheKind::int8 ? 2 : 4;
  require(chunked(a.key, twice) && (s.values_are_keys || chunked(a.value, twice)) && (s.rope_dim == 0 || chunked(a.rope, 4)), "cache rows at multiples of 16 bytes");
  const auto even = [](const void* p, int64_t x, int64_t y) { return reinterpret_cast<uintptr_t>(p) % 16 == 0 && x % 8 == 0 && y % 8 == 0; };
  require(even(a.q, a.q_batch, a.q_head) && (s.rope_dim == 0 || even(a.q_rope, a.q_rope_batch, a.q_rope_head)) && even(a.out, a.out_batch, a.out_head), "queries and results at multiples of 16 bytes");
}

}  // namespace mla::gpu
