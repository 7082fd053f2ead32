// The module's one symbol.
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/runtime.h"

namespace mla::gpu {
namespace {

// Functions of the table take pointers; launchers take references.
template <class Args, int (*kLaunch)(const Args&, void*)>
int call(const Args* args, void* stream) {
  return kLaunch(*args, stream);
}

}  // namespace
}  // namespace mla::gpu

extern "C" __attribute__((visibility("default"))) const mla::gpu::CudaTable* mlaforge_cuda_table() {
  using namespace mla::gpu;
  static const CudaTable table{kTableVersion, sizeof(CudaTable), sizeof(DecodeArgs), sizeof(CacheAppendArgs), sizeof(RunningScore),
                               runtime::architectures(), runtime::error_text, runtime::card_count, runtime::card, runtime::probe, runtime::set_card,
                               runtime::allocate, runtime::release, runtime::copy_in, runtime::copy_out, runtime::copy, runtime::synchronize,
                               runtime::graph_begin, runtime::graph_end, runtime::graph_launch, runtime::graph_release,
                               call<DecodeArgs, launch_decode>, call<CacheAppendArgs, launch_cache_append>, call<ResidualNormArgs, launch_residual_norm>,
                               call<SwigluArgs, launch_swiglu>, call<LogitBlockArgs, launch_logit_block>};
  return &table;
}
