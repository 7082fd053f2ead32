// What `inspect` counts of a model without loading it, and of a conversion without calibrating: parameters, attention tensors, cache.
#pragma once
#include <cstdint>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "core/model/attention_weights.h"
#include "core/model/kv_cache.h"
#include "methods/parts.h"

namespace mla {

// Widths of the two streams that a layer's cache keeps, as a forward wrote them.
struct LayerStreams {
  int64_t first = 0, second = 0;
  int64_t window = 0;  // tokens that a query sees; 0: all
  int64_t values() const { return first + second; }
};

// Of a layer that is in memory: counted from its cache after one token.
LayerStreams streams_of(const AttentionWeights& weights);

struct ModelCount {
  Json attention = Json::object();  // of the first layer: {"q_proj.weight": [576, 576], ...}
  int64_t parameters = 0;           // that take part, tied ones once
  std::vector<LayerStreams> layers;
};

// Compares the file's tensors with its configuration, then reads the first layer alone; of a converted model the attention of each.
// Throws as check_tensors() does.
ModelCount count_model(const Checkpoint& checkpoint, at::ScalarType dtype);
// The model's first layer converted: it goes through the recipe with unit statistics in place of a calibration, since shapes do not depend
// on what is measured. Embedding and head are stand-ins. Throws as convert() does.
Decoder first_layer_converted(const Checkpoint& checkpoint, Recipe recipe, at::ScalarType dtype);
// The same of the model converted, from its first layer. Throws as convert() does.
ModelCount count_conversion(const Checkpoint& checkpoint, Recipe recipe, at::ScalarType dtype);

// Bytes of a cache object of that format after `context` tokens of `dtype`, all layers. `within_windows`: layers with a window keep
// no more tokens than it shows (ours keeps them all).
int64_t cache_bytes(const std::vector<LayerStreams>& layers, const CacheFormat& format, at::ScalarType dtype, int64_t context, bool within_windows = false);

}  // namespace mla
