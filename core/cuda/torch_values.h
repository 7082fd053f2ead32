// What the operators need to know of ATen's tensors.
#pragma once
#include <ATen/ATen.h>

#include "core/cuda/numbers.h"

namespace mla {

gpu::Type type_of(at::ScalarType dtype);  // throws ShapeError for what is not fp32, fp16 or bf16

// The queue of ATen's own kernels on that device; null on the CPU and for CUDA's default stream.
void* stream_of(at::Device device);

// Waits until the device has done what it was given.
void synchronize(at::Device device);

}  // namespace mla
