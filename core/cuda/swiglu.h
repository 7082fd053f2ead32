// out = gate * sigmoid(gate) * up in fp32, rounded once.
#pragma once
#include "core/cuda/numbers.h"

namespace mla::gpu {

struct SwigluArgs {
  Type type = Type::bf16;
  int64_t rows = 0, inner = 0;    // I
  const void* gate_up = nullptr;  // [rows,2*I], gate first
  void* out = nullptr;            // [rows,I]
};

void check_swiglu(const SwigluArgs& args);  // throws ShapeError

namespace reference {
void swiglu(const SwigluArgs& args);  // fp64
}

}  // namespace mla::gpu
