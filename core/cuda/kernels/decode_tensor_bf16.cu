// The tensor-core decode kernels of bf16 queries.
#include "core/cuda/kernels/decode_tensor.h"
#include "core/cuda/kernels/launchers.h"

namespace mla::gpu {

int launch_decode_tensor_bf16(const DecodeArgs& a, void* stream) { return start_decode<Brain>(a, stream); }

}  // namespace mla::gpu
