#include "core/cuda/reference_table.h"

#include "core/cuda/kernels/runtime.h"

namespace mla::gpu {
namespace {

template <class Args, void (*kReference)(const Args&)>
int call(const Args* args, void*) {
  kReference(*args);
  return 0;
}

}  // namespace

const CudaTable& reference_table() {
  static const CudaTable table{
      .version = kTableVersion, .bytes_of_table = sizeof(CudaTable), .bytes_of_decode = sizeof(DecodeArgs), .bytes_of_append = sizeof(CacheAppendArgs), .bytes_of_scores = sizeof(RunningScore),
      .architectures = runtime::architectures(), .error_text = runtime::error_text, .card_count = runtime::card_count, .card = runtime::card, .probe = runtime::probe,
      .set_card = runtime::set_card, .allocate = runtime::allocate, .release = runtime::release, .copy_in = runtime::copy_in, .copy_out = runtime::copy_out, .copy = runtime::copy,
      .synchronize = runtime::synchronize, .graph_begin = runtime::graph_begin, .graph_end = runtime::graph_end, .graph_launch = runtime::graph_launch,
      .graph_release = runtime::graph_release, .decode = call<DecodeArgs, reference::decode>, .cache_append = call<CacheAppendArgs, reference::cache_append>,
      .residual_norm = call<ResidualNormArgs, reference::residual_norm>, .swiglu = call<SwigluArgs, reference::swiglu>, .logit_block = call<LogitBlockArgs, reference::logit_block>};
  return table;
}

}  // namespace mla::gpu
