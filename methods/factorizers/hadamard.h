// An orthogonal matrix whose entries are all alike in size, so that a latent multiplied by it has no outlier dims and
// quantises well (Palu, arXiv 2407.21118, section 4.3; QuaRot, arXiv 2404.00456).
#pragma once
#include <ATen/ATen.h>

namespace mla {

// [n, n] fp64, orthogonal: Sylvester's Hadamard matrix for the power of two in n, times the cosine transform of the odd rest.
at::Tensor hadamard_matrix(int64_t n);

}  // namespace mla
