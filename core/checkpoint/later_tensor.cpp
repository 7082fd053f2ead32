#include "core/checkpoint/later_tensor.h"

#include "core/base/error.h"

namespace mla {

LaterTensor::LaterTensor(const at::Tensor& tensor) : LaterTensor(tensor.scalar_type(), tensor.sizes().vec(), [tensor] { return tensor; }) {}

LaterTensor::LaterTensor(at::ScalarType type, std::vector<int64_t> shape, std::function<at::Tensor()> load)
    : type_(type), shape_(std::move(shape)), load_(std::move(load)) {}

std::size_t LaterTensor::bytes() const {
  std::size_t elements = 1;
  for (const int64_t size : shape_) elements *= static_cast<std::size_t>(size);
  return elements * c10::elementSize(type_);
}

at::Tensor LaterTensor::take(const std::string& name) const {
  at::Tensor values = load_();
  if (!values.defined() || values.sizes() != at::IntArrayRef(shape_) || values.scalar_type() != type_)
    fail<ShapeError>("writer", "wanted tensor ", name, " ", at::IntArrayRef(shape_), " of ", type_, ", got ",
                     values.defined() ? values.sizes() : at::IntArrayRef(), " of ", values.scalar_type());
  return values.to(at::kCPU).contiguous();
}

}  // namespace mla
