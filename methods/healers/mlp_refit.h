// Closed form: the down projection of a converted layer's MLP fitted by ridge regression (ridge.h), so that the stream behind the layer is the
// original's: a_t are the MLP's gated values on the converted stream h_t behind the converted attention, y_t = next_t - h_t with next_t the
// original's stream behind its MLP. What attention could not give back is asked of the MLP. Layers of experts stay as they are.
#pragma once
#include "methods/parts.h"

namespace mla {

struct MlpRefitOptions {
  double ridge = 0.1;
};
std::unique_ptr<Healer> make_mlp_refit(const MlpRefitOptions& options);

}  // namespace mla
