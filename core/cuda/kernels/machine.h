// What a kernel file needs of the machine: under nvcc CUDA itself and the few PTX instructions that C++ has no name for; under another
// compiler an emulation, so that the same kernels run on a CPU in the tests.
//   warp_max, warp_sum   over the 32 lanes; quad_max, quad_sum over each four lanes in succession
//   copy_async           16 bytes of global memory into shared memory, or zeros; copy_async_word: 4 bytes
//   load_matrices        ldmatrix.x4 (PTX ISA 9.7.14.5.15): lane i names row i % 8 of matrix i / 8
//   multiply_add         mma.sync.m16n8k16, fp32 sums (PTX ISA 9.7.14.5.8)
// The layouts of fragments are functions of core/cuda/kernels/fragments.h.
#pragma once
#ifdef __CUDACC__
#include "core/cuda/kernels/machine_ptx.h"
#else
#include "core/cuda/emulation/machine_cpu.h"
#endif
