// What the parts of the emulation share about the block that runs.
#pragma once
#include "core/cuda/emulation/async_proxy.h"

namespace mla::gpu::emulation {

AsyncProxy& async_proxy();
void reset_products(unsigned threads);  // of a new block
void warp_barrier();                    // of the thread's warp

}  // namespace mla::gpu::emulation
