// What a conversion kept of each layer, as rows of the store.
#pragma once
#include <vector>

#include "core/base/metric.h"
#include "methods/convert.h"

namespace mla {

// Stage "mla": `layer_rank` (of all compressed parts together) and `kept_energy` (their kept share of the layer's energy, in the factorizer's unit) by
// layer; and of at most eight layers, first and last among them, `spectrum/LAYER/PART`: by direction, from 1 on, its share of the part's energy, at
// most sixteen directions evenly spaced on a logarithmic scale. Nothing of layers of which no part was decomposed.
std::vector<SampleRow> layer_samples(const Conversion& conversion);

}  // namespace mla
