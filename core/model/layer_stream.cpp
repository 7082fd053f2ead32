#include "core/model/layer_stream.h"

#include <unordered_set>
#include <utility>

#include "core/base/process.h"
#include "core/checkpoint/expected_tensors.h"
#include "core/model/cpu_kernels.h"
#include "core/model/layer_files.h"

namespace mla {
namespace {

Decoder without_layers(const Decoder& model) {
  Decoder frame = model;
  frame.layers.clear();
  frame.config.num_layers = static_cast<int64_t>(model.layers.size());
  return frame;
}

}  // namespace

LayerStream::LayerStream(Decoder model) : frame_(std::make_shared<const Decoder>(without_layers(model))) {
  read_ = [whole = std::make_shared<const Decoder>(std::move(model))](int64_t layer, LayerParts) { return whole->layers[static_cast<std::size_t>(layer)]; };
}

DecoderLayer LayerStream::read(int64_t layer, LayerParts parts) const {
  throw_if_interrupted();
  return read_(layer, parts);
}

Decoder LayerStream::with_layer(int64_t layer, DecoderLayer weights) const {
  Decoder model = frame();
  model.layers.resize(static_cast<std::size_t>(layers()));
  model.layers[static_cast<std::size_t>(layer)] = std::move(weights);
  return model;
}

LayerStream LayerStream::changed(Decoder frame, Change change) const {
  return {std::move(frame), [read = read_, change = std::move(change)](int64_t layer, LayerParts parts) {
    DecoderLayer weights = read(layer, parts);
    change(layer, parts, weights);
    return weights;
  }};
}

Decoder LayerStream::load() const {
  Decoder model = frame();
  for (int64_t layer = 0; layer < layers(); ++layer) model.layers.push_back(read(layer));
  return model;
}

at::Tensor LayerStream::last_hidden(const at::Tensor& ids) const {
  at::Tensor hidden = frame().embed(ids);
  for (int64_t layer = 0; layer < layers(); ++layer) {
    const Decoder model = with_layer(layer);
    hidden = model.layer_forward(layer, hidden, model.attention_input(layer, hidden));
    require_finite(hidden, "after layer " + std::to_string(layer));
  }
  return rms_norm(hidden, frame().final_norm, frame().config.rms_norm_eps);
}

int64_t LayerStream::parameters() const {
  int64_t count = frame().parameters();
  std::unordered_set<const void*> seen;
  for (int64_t layer = 0; layer < layers(); ++layer) {
    DecoderLayer weights = read(layer, LayerParts::outline);
    seen.clear();
    each_layer_tensor(weights, [&](at::Tensor& t) {
      if (t.defined() && (t.is_meta() || seen.insert(t.const_data_ptr()).second)) count += t.numel();
    });
  }
  return count;
}

double LayerStream::cache_values_per_token_per_layer() const {
  double sum = 0;
  for (int64_t layer = 0; layer < layers(); ++layer) sum += static_cast<double>(cache_values_per_token(read(layer, LayerParts::attention).attention));
  return sum / static_cast<double>(layers());
}

LayerStream open_layers(std::shared_ptr<const Checkpoint> checkpoint, at::Device device, at::ScalarType dtype) {
  check_tensors(*checkpoint);
  const TensorSource source(*checkpoint, device, dtype);
  Decoder frame;
  frame.config = checkpoint->config();
  frame.embedding = source.tensor("model.embed_tokens.weight");
  frame.head = frame.config.tie_word_embeddings ? frame.embedding : source.tensor("lm_head.weight");
  frame.final_norm = source.norm("model.norm.weight");
  return {std::move(frame), [checkpoint = std::move(checkpoint), device, dtype](int64_t layer, LayerParts parts) {
    return read_layer(TensorSource(*checkpoint, device, dtype), layer, parts);
  }};
}

LaterTensors later_tensors(const LayerStream& model, const ListTensors& list) {
  struct Current {
    int64_t layer = -1;
    std::vector<std::pair<std::string, at::Tensor>> tensors;
  };
  const auto current = std::make_shared<Current>();
  LaterTensors later;
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    const auto outline = list(layer, model.read(layer, LayerParts::outline));
    for (std::size_t i = 0; i < outline.size(); ++i) {
      const auto load = [model, list, current, layer, i] {
        if (current->layer != layer) {
          current->tensors.clear();
          current->tensors = list(layer, model.read(layer));
          current->layer = layer;
        }
        return std::exchange(current->tensors.at(i).second, {});
      };
      later.emplace_back(outline[i].first, LaterTensor(outline[i].second.scalar_type(), outline[i].second.sizes().vec(), load));
    }
  }
  return later;
}

}  // namespace mla
