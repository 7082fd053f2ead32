// What a kernel file needs of the machine: under nvcc CUDA itself and the few PTX instructions that C++ has no name for; under another
// compiler an emulation, so that the same kernels run on a CPU in the tests.
//   warp_max, warp_sum   over the 32 lanes; quad_max, quad_sum over each four lanes in succession
//   copy_async           16 bytes of global memory into shared memory, or zeros; copy_async_word: 4 bytes
//   load_matrices        ldmatrix.x4 (PTX ISA 9.7.14.5.15): lane i names row i % 8 of matrix i / 8
//   multiply_add         mma.sync.m16n8k16, fp32 sums (PTX ISA 9.7.14.5.8)
// For 128 threads together, where kWarpgroups (compute capability 9.0a):
//   multiply_k_major     wgmma.mma_async.m64n64k16 (PTX ISA 9.7.15.5): D [64,64] = A B + D, B K-major; A of a descriptor or of registers
//   multiply_mn_major    wgmma.mma_async.m64n256k16: D [64,256] += A B, B MN-major
//   product_fence        wgmma.fence, before products whose registers were read or written; commit_products, wait_products: their groups
//   take_results         after the wait: nothing of D is read before
//   fence_async_proxy    what this thread wrote to shared memory is what products read; store_shared: a write that products will read
//   barrier_sync         barriers 1 to 15 of some of the block's threads; barrier_arrive comes and does not wait
// The layouts of fragments are functions of core/cuda/kernels/fragments.h.
#pragma once
#ifdef __CUDACC__
#include "core/cuda/kernels/machine_ptx.h"
#include "core/cuda/kernels/machine_wgmma.h"
#else
#include "core/cuda/emulation/machine_cpu.h"
#endif
