// residual += x, then out = residual * rsqrt(mean(residual^2) + eps) * weight, in one pass over each row.
// The sum is rounded to `type` first, as a residual stream in that dtype has it; statistics in fp32.
#pragma once
#include "core/cuda/numbers.h"

namespace mla::gpu {

struct ResidualNormArgs {
  Type type = Type::bf16;        // of x, residual and out
  Type weight_type = Type::bf16; // type, or fp32: then the product with it is rounded once (core/model/cpu_kernels.h's rms_norm)
  int64_t rows = 0, width = 0;   // width at most 16384
  const void* x = nullptr;       // [rows,width]; null: nothing is added
  void* residual = nullptr;      // [rows,width], overwritten with the sum
  const void* weight = nullptr;  // [width]
  void* out = nullptr;           // [rows,width]; may be x, and residual where x is null
  float eps = 1e-6f;
};

void check_residual_norm(const ResidualNormArgs& args);  // throws ShapeError

namespace reference {
void residual_norm(const ResidualNormArgs& args);  // fp64 but for the roundings that the contract names
}

}  // namespace mla::gpu
