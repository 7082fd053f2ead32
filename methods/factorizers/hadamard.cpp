#include "methods/factorizers/hadamard.h"

#include <cmath>

namespace mla {
namespace {

// Orthonormal cosine transform (DCT-II); [[1]] for n = 1.
at::Tensor cosine_matrix(int64_t n) {
  const at::Tensor row = at::arange(n, at::kDouble).unsqueeze(1), column = at::arange(n, at::kDouble).unsqueeze(0) + 0.5;
  at::Tensor matrix = (row * column * (M_PI / static_cast<double>(n))).cos() * std::sqrt(2.0 / static_cast<double>(n));
  matrix[0].mul_(std::sqrt(0.5));
  return matrix;
}

}  // namespace

at::Tensor hadamard_matrix(int64_t n) {
  if (n == 0) return at::zeros({0, 0}, at::kDouble);
  int64_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  at::Tensor matrix = cosine_matrix(odd);
  for (int64_t size = odd; size < n; size *= 2)
    matrix = at::cat({at::cat({matrix, matrix}, 1), at::cat({matrix, -matrix}, 1)}) * std::sqrt(0.5);
  return matrix;
}

}  // namespace mla
