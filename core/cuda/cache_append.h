// New tokens' keys and values into a cache in pages of 64 tokens, rotated and quantised on the way.
//   plain    [N,W]     MLA: the latent. Grouped queries: all values [G*h]. Copied, or quantised a token's row at a time.
//   rotated  [N,G,d]   MLA: the rope key (G = 1, or as many as the model keeps). Grouped queries: the keys. Rotated in fp32: pair (i, i + d/2)
//                      becomes (a cos - b sin, b cos + a sin), rounded once; then copied, or quantised too.
//   queries  [N,H,d]   optional: rotated in place by the same angles.
// Quantised rows are those of quantize() in core/model/kv_quant.h with QuantAxis::token, QuantRule::quanto and fp16 scales, bit for bit:
// minimum rounded down, scale rounded up, codes to nearest, ties to even, clamped.
#pragma once
#include "core/cuda/decode.h"

namespace mla::gpu {

// As PagedRows, to be written; affine as in DecodeArgs, not used without quantisation.
struct PagedTarget {
  CacheKind kind = CacheKind::bf16;   // the rows' own dtype, int8 or int4
  void* data = nullptr;
  int64_t page_stride = 0, row_stride = 0, group_stride = 0;  // in values
  void* affine = nullptr;             // fp16 pairs (scale, minimum)
  int64_t affine_page_stride = 0, affine_row_stride = 0, affine_group_stride = 0;
};

struct CacheAppendArgs {
  Type type = Type::bf16;              // of plain, rotated and queries
  int32_t tokens = 0;                  // N
  int32_t width = 0;                   // W, at most 8192; 0: no plain rows
  int32_t groups = 0, dim = 0;         // G, d; d even, at most 1024; 0: nothing is rotated
  int32_t heads = 0;                   // H of queries; 0: none
  int32_t rope_heads = 1;              // head i of H has the angles of rope head i / (H / rope_heads); the G rotated rows likewise
  int32_t quant_group = 64;            // 2 to 512, even
  const void* plain = nullptr;         // [N,W] rows plain_stride apart
  const void* rotated = nullptr;       // [N,G,d] tokens rotated_stride apart, groups one after another
  void* queries = nullptr;             // [N,H,d] tokens query_stride, heads query_head apart
  int64_t plain_stride = 0, rotated_stride = 0, query_stride = 0, query_head = 0;
  const float *cos = nullptr, *sin = nullptr;  // [P, rope_heads, d/2]: row of a position
  int32_t positions_held = 0;                  // P
  const int32_t* sequence = nullptr;   // [N]: row of the page table
  const int32_t* position = nullptr;   // [N]: where in its sequence the token stands
  const int32_t* page_table = nullptr; // [B, max_pages]
  int64_t page_table_stride = 0;
  int32_t batch = 0, max_pages = 0, page_count = 0;
  PagedTarget plain_rows, rotated_rows;
  int32_t* faults = nullptr;           // optional, 1 value: counts tokens whose sequence, position or page the tables do not hold. They are
                                       // written nowhere, and their queries become NaN
};

// Throws ShapeError. Reads nothing from the device.
void check_cache_append(const CacheAppendArgs& args);

namespace reference {
// In fp64 but for quantisation, which follows the rule's own fp32.
void cache_append(const CacheAppendArgs& args);
}

}  // namespace mla::gpu
