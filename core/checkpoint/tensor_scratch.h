// Tensors that wait on disk for their turn within one process. The file has no name: it goes with the process, whatever ends it.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

namespace mla {

class TensorScratch {
 public:
  // The file lies in `folder`, which must be there. Throws ResourceError naming it.
  explicit TensorScratch(const std::filesystem::path& folder);
  ~TensorScratch();
  TensorScratch(const TensorScratch&) = delete;
  TensorScratch& operator=(const TensorScratch&) = delete;

  // Number under which get() gives the tensor back, on the CPU. Throws ResourceError when the disk is full.
  std::size_t put(const at::Tensor& tensor);
  at::Tensor get(std::size_t number) const;

 private:
  struct Place {
    int64_t offset;
    std::vector<int64_t> shape;
    at::ScalarType type;
  };
  std::filesystem::path folder_;
  int fd_ = -1;
  int64_t end_ = 0;
  std::vector<Place> places_;
};

}  // namespace mla
