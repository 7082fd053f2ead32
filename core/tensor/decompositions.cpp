#include "core/tensor/decompositions.h"

#include <map>

namespace mla {

Eigenpairs descending_eigenpairs(const at::Tensor& symmetric) {
  const auto [values, vectors] = at::linalg_eigh(symmetric);
  return {values.flip(-1), vectors.flip(-1)};
}

std::vector<Eigenpairs> descending_eigenpairs(const std::vector<at::Tensor>& symmetric) {
  std::map<int64_t, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < symmetric.size(); ++i) by_size[symmetric[i].size(0)].push_back(i);
  std::vector<Eigenpairs> all(symmetric.size());
  for (const auto& [size, places] : by_size) {
    std::vector<at::Tensor> batch;
    for (const std::size_t i : places) batch.push_back(symmetric[i]);
    const Eigenpairs found = descending_eigenpairs(batch.size() > 1 ? at::stack(batch) : batch.front().unsqueeze(0));
    for (std::size_t b = 0; b < places.size(); ++b) all[places[b]] = {found.values.select(0, static_cast<int64_t>(b)), found.vectors.select(0, static_cast<int64_t>(b))};
  }
  return all;
}

}  // namespace mla
