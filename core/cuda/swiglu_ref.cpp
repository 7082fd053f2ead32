#include <cmath>

#include "core/base/error.h"
#include "core/cuda/swiglu.h"
#include "core/cuda/typed_values.h"

namespace mla::gpu {

void check_swiglu(const SwigluArgs& a) {
  if (a.rows < 0 || a.inner < 0) fail<ShapeError>("swiglu", "wanted [rows,2*I] of 0 or more, got [", a.rows, ",2*", a.inner, "]");
  if (a.rows > 0 && a.inner > 0 && (a.gate_up == nullptr || a.out == nullptr)) fail<ShapeError>("swiglu", "wanted gate_up and out, got a null pointer");
}

void reference::swiglu(const SwigluArgs& a) {
  for (int64_t row = 0; row < a.rows; ++row)
    for (int64_t i = 0; i < a.inner; ++i) {
      const double gate = value_at(a.type, a.gate_up, row * 2 * a.inner + i), up = value_at(a.type, a.gate_up, (row * 2 + 1) * a.inner + i);
      set_value(a.type, a.out, row * a.inner + i, gate / (1 + std::exp(-gate)) * up);
    }
}

}  // namespace mla::gpu
