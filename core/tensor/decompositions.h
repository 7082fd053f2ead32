// Decompositions in fp64 where the tensors are: LAPACK's on the CPU, cuSOLVER's on a card.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace mla {

struct Eigenpairs {
  at::Tensor values;   // [n], descending
  at::Tensor vectors;  // [n, n], as columns
};
// Of a symmetric matrix [n, n].
Eigenpairs descending_eigenpairs(const at::Tensor& symmetric);
// Of several; those of equal size are one batch. Results are those of one after the other, to the last bit on the CPU.
std::vector<Eigenpairs> descending_eigenpairs(const std::vector<at::Tensor>& symmetric);

}  // namespace mla
