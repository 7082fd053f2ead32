// What runs the engine's operators: the kernels' module for tensors on a card, the C++ references for tensors on the CPU.
#pragma once
#include "core/cuda/plug.h"
#include "core/cuda/torch_values.h"

namespace mla {

struct EngineMachine {
  gpu::Operators operators;
  gpu::CardLimits limits;
};

// Throws CudaError as open_module() and open_card() do.
EngineMachine engine_machine(at::Device device);
// Of a table over host memory or a card that is set.
EngineMachine engine_machine(const gpu::CudaTable& table, int card = 0);

}  // namespace mla
