// Launchers of the kernel files. Each returns 0 or CUDA's error code; an empty batch launches nothing.
#pragma once
#include "core/cuda/table.h"

namespace mla::gpu {

int launch_decode(const DecodeArgs& args, void* stream);  // the kernel of args.plan, and the combination of splits
int launch_decode_plain(const DecodeArgs& args, void* stream);
int launch_decode_tensor_bf16(const DecodeArgs& args, void* stream);
int launch_decode_tensor_fp16(const DecodeArgs& args, void* stream);
int launch_decode_wgmma(const DecodeArgs& args, void* stream);
int launch_cache_append(const CacheAppendArgs& args, void* stream);
int launch_residual_norm(const ResidualNormArgs& args, void* stream);
int launch_swiglu(const SwigluArgs& args, void* stream);
int launch_logit_block(const LogitBlockArgs& args, void* stream);

}  // namespace mla::gpu
