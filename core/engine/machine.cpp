#include "core/engine/machine.h"

#include "core/cuda/reference_table.h"

namespace mla {

EngineMachine engine_machine(const gpu::CudaTable& table, int card) { return {gpu::Operators(table), gpu::limits_of(gpu::open_card(table, card))}; }

EngineMachine engine_machine(at::Device device) {
  if (device.is_cpu()) return engine_machine(gpu::reference_table());
  return engine_machine(gpu::open_module(), device.has_index() ? device.index() : 0);
}

}  // namespace mla
