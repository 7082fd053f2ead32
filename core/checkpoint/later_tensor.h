// A tensor on its way into a file: its shape is known when the file's header is written, its values when its turn comes.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace mla {

class LaterTensor {
 public:
  LaterTensor(const at::Tensor& tensor);  // one that is there: kept by reference until it is written
  LaterTensor(at::ScalarType type, std::vector<int64_t> shape, std::function<at::Tensor()> load);

  at::ScalarType type() const { return type_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  std::size_t bytes() const;
  // On the CPU and contiguous. Throws ShapeError when load() gives another shape or type than was announced.
  at::Tensor take(const std::string& name) const;

 private:
  at::ScalarType type_;
  std::vector<int64_t> shape_;
  std::function<at::Tensor()> load_;
};

using LaterTensors = std::vector<std::pair<std::string, LaterTensor>>;

}  // namespace mla
