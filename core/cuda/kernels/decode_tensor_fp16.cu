// The tensor-core decode kernels of fp16 queries.
#include "core/cuda/kernels/decode_tensor.h"
#include "core/cuda/kernels/launchers.h"

namespace mla::gpu {

int launch_decode_tensor_fp16(const DecodeArgs& a, void* stream) { return start_decode<Half>(a, stream); }

}  // namespace mla::gpu
