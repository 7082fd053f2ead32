#include <cmath>

#include "core/base/error.h"
#include "core/cuda/residual_norm.h"
#include "core/cuda/typed_values.h"

namespace mla::gpu {

void check_residual_norm(const ResidualNormArgs& a) {
  if (a.rows < 0 || a.rows > 2147483647 || a.width < 1 || a.width > 16384) fail<ShapeError>("residual_norm", "wanted rows of 1 to 16384 values, got [", a.rows, ",", a.width, "]");
  if (a.weight_type != a.type && a.weight_type != Type::fp32) fail<ShapeError>("residual_norm", "wanted a weight in the rows' dtype or fp32");
  if (a.rows > 0 && (a.residual == nullptr || a.weight == nullptr || a.out == nullptr)) fail<ShapeError>("residual_norm", "wanted residual, weight and out, got a null pointer");
}

void reference::residual_norm(const ResidualNormArgs& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    double squares = 0;
    for (int64_t i = row * a.width; i < (row + 1) * a.width; ++i) {
      if (a.x != nullptr) set_value(a.type, a.residual, i, value_at(a.type, a.residual, i) + value_at(a.type, a.x, i));
      squares += std::pow(value_at(a.type, a.residual, i), 2);
    }
    const double factor = 1 / std::sqrt(squares / static_cast<double>(a.width) + a.eps);
    for (int64_t i = 0; i < a.width; ++i) {
      const double normed = value_at(a.type, a.residual, row * a.width + i) * factor;
      set_value(a.type, a.out, row * a.width + i, (a.weight_type == a.type ? rounded(a.type, normed) : normed) * value_at(a.weight_type, a.weight, i));
    }
  }
}

}  // namespace mla::gpu
