#include "core/cuda/kernels/runtime.h"

#include <cuda_runtime.h>

#include <cstdio>

namespace mla::gpu::runtime {
namespace {

__global__ void empty_kernel() {}

// Errors of earlier calls are not those of the next.
int finish(cudaError_t code) {
  if (code != cudaSuccess) cudaGetLastError();
  return code;
}

int with_card(int index, int (*call)()) {
  int before = 0;
  if (const cudaError_t code = cudaGetDevice(&before); code != cudaSuccess) return finish(code);
  if (const cudaError_t code = cudaSetDevice(index); code != cudaSuccess) return finish(code);
  const int result = call();
  cudaSetDevice(before);
  return result;
}

int64_t free_bytes = 0;  // of the last card() call's card

}  // namespace

const char* architectures() { return MLAFORGE_CUDA_ARCHITECTURES; }
const char* error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }
int card_count(int* count) { return finish(cudaGetDeviceCount(count)); }

int card(int index, Card* out) {
  cudaDeviceProp properties;
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, index); code != cudaSuccess) return finish(code);
  std::snprintf(out->name, sizeof out->name, "%s", properties.name);
  out->major = properties.major;
  out->minor = properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  out->shared_bytes = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  out->total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  const int code = with_card(index, [] {
    size_t available = 0, total = 0;
    const cudaError_t result = cudaMemGetInfo(&available, &total);
    free_bytes = static_cast<int64_t>(available);
    return finish(result);
  });
  out->free_bytes = free_bytes;
  return code;
}

int probe(int index) {
  return with_card(index, [] {
    cudaFuncAttributes attributes;
    return finish(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(empty_kernel)));
  });
}

int set_card(int index) { return finish(cudaSetDevice(index)); }
int allocate(void** out, size_t bytes) { return finish(cudaMalloc(out, bytes)); }
int release(void* memory) { return finish(cudaFree(memory)); }
int copy_in(void* card, const void* host, size_t bytes) { return finish(cudaMemcpy(card, host, bytes, cudaMemcpyHostToDevice)); }
int copy_out(void* host, const void* card, size_t bytes) { return finish(cudaMemcpy(host, card, bytes, cudaMemcpyDeviceToHost)); }
int copy(void* to, const void* from, size_t bytes, void* stream) {
  return finish(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)));
}
int synchronize() { return finish(cudaDeviceSynchronize()); }

// Relaxed: LibTorch's allocator, which knows nothing of the recording, may ask the driver for memory meanwhile.
int graph_begin(void* stream) { return finish(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeRelaxed)); }
int graph_end(void* stream, void** graph) {
  cudaGraph_t recorded = nullptr;
  if (const cudaError_t code = cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &recorded); code != cudaSuccess) return finish(code);
  cudaGraphExec_t ready = nullptr;
  const cudaError_t code = graph != nullptr ? cudaGraphInstantiate(&ready, recorded, 0) : cudaSuccess;
  cudaGraphDestroy(recorded);
  if (graph != nullptr) *graph = ready;
  return finish(code);
}
int graph_launch(void* graph, void* stream) { return finish(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream))); }
int graph_release(void* graph) { return graph != nullptr ? finish(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph))) : 0; }

}  // namespace mla::gpu::runtime
