// The runtime of tables whose operators run on the CPU (references, emulated kernels): host memory stands for a card's.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/cuda/kernels/runtime.h"

namespace mla::gpu::runtime {

const char* architectures() { return "host"; }
const char* error_text(int code) { return code == 0 ? "no error" : code == kNoGraphs ? "no graphs" : "out of memory"; }
int card_count(int* count) {
  *count = 1;
  return 0;
}
int card(int, Card* out) {
  *out = {"host memory", 9, 0, 4, 232448, int64_t{1} << 32, int64_t{1} << 32};
  return 0;
}
int probe(int) { return 0; }
int set_card(int) { return 0; }
int allocate(void** out, size_t bytes) {
  *out = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *out != nullptr || bytes == 0 ? 0 : 2;
}
int release(void* memory) {
  std::free(memory);
  return 0;
}
int copy_in(void* card, const void* host, size_t bytes) {
  std::memcpy(card, host, bytes);
  return 0;
}
int copy_out(void* host, const void* card, size_t bytes) {
  std::memcpy(host, card, bytes);
  return 0;
}
int copy(void* to, const void* from, size_t bytes, void*) {
  std::memcpy(to, from, bytes);
  return 0;
}
int synchronize() { return 0; }
int graph_begin(void*) { return kNoGraphs; }
int graph_end(void*, void**) { return kNoGraphs; }
int graph_launch(void*, void*) { return kNoGraphs; }
int graph_release(void*) { return 0; }

}  // namespace mla::gpu::runtime
