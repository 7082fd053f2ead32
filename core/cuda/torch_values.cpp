#include "core/cuda/torch_values.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/base/error.h"

namespace mla {

gpu::Type type_of(at::ScalarType dtype) {
  if (dtype == at::kFloat) return gpu::Type::fp32;
  if (dtype == at::kHalf) return gpu::Type::fp16;
  if (dtype == at::kBFloat16) return gpu::Type::bf16;
  fail<ShapeError>("cuda", "wanted tensors of fp32, fp16 or bf16, got ", at::toString(dtype));
}

void* stream_of(at::Device device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

void synchronize(at::Device device) {
  if (device.is_cuda()) at::accelerator::synchronizeDevice(device.index());
}

}  // namespace mla
