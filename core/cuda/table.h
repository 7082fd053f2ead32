// What the CUDA module offers: one table of C functions, found by the name kTableSymbol. No C++ type with its own layout crosses it,
// only the plain structs of the contracts; both sides compare version and sizes.
#pragma once
#include <cstddef>

#include "core/cuda/cache_append.h"
#include "core/cuda/decode.h"
#include "core/cuda/logit_block.h"
#include "core/cuda/residual_norm.h"
#include "core/cuda/swiglu.h"

namespace mla::gpu {

constexpr uint32_t kTableVersion = 3;
constexpr const char* kTableSymbol = "mlaforge_cuda_table";
constexpr int kNoGraphs = 801;  // cudaErrorNotSupported
constexpr const char* kModuleName = "libmlaforge_cuda.so";

struct Card {
  char name[256];
  int32_t major, minor, multiprocessors;
  int64_t shared_bytes;  // the most that a block may ask for
  int64_t total_bytes, free_bytes;
};

// Functions return 0 or CUDA's error code. `stream` is a cudaStream_t; null is the legacy default stream. Nothing synchronises but
// copy_in, copy_out and synchronize.
struct CudaTable {
  uint32_t version;
  uint32_t bytes_of_table, bytes_of_decode, bytes_of_append, bytes_of_scores;  // sizeof of the structs, as the module was compiled
  const char* architectures;                  // "80 90a 100 100-virtual"
  const char* (*error_text)(int code);
  int (*card_count)(int* count);
  int (*card)(int index, Card* out);
  int (*probe)(int index);                    // has the module code for this card?
  int (*set_card)(int index);
  int (*allocate)(void** out, size_t bytes);  // on the card that is set
  int (*release)(void* memory);
  int (*copy_in)(void* card, const void* host, size_t bytes);
  int (*copy_out)(void* host, const void* card, size_t bytes);
  int (*copy)(void* to, const void* from, size_t bytes, void* stream);  // within the card
  int (*synchronize)();
  // A graph of all that `stream`, not a default one, is given from begin to end; none of it runs meanwhile. kNoGraphs on the host.
  int (*graph_begin)(void* stream);
  int (*graph_end)(void* stream, void** graph);  // null: what was recorded is let go
  int (*graph_launch)(void* graph, void* stream);
  int (*graph_release)(void* graph);
  int (*decode)(const DecodeArgs* args, void* stream);
  int (*cache_append)(const CacheAppendArgs* args, void* stream);
  int (*residual_norm)(const ResidualNormArgs* args, void* stream);
  int (*swiglu)(const SwigluArgs* args, void* stream);
  int (*logit_block)(const LogitBlockArgs* args, void* stream);
};

}  // namespace mla::gpu

extern "C" const mla::gpu::CudaTable* mlaforge_cuda_table();
