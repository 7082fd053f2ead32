// A model of which one layer at a time need be in memory: each is read when it is wanted. A Decoder is one as well, so that whatever goes
// through a model layer by layer (calibration, conversion, writing, checking) is written once.
#pragma once
#include <functional>
#include <memory>

#include "core/checkpoint/later_tensor.h"
#include "core/model/decoder.h"

namespace mla {

// What of a layer is wanted: all, norms and attention, or shapes. Tensors that are not wanted may have a shape alone (device meta).
enum class LayerParts { whole, attention, outline };

class LayerStream {
 public:
  using Read = std::function<DecoderLayer(int64_t layer, LayerParts parts)>;
  using Change = std::function<void(int64_t layer, LayerParts parts, DecoderLayer& read)>;

  LayerStream(Decoder model);  // a model in memory; its tensors are shared
  // `frame` is a model without its layers: configuration, embedding, final norm, head. `read` gives each layer whenever it is asked.
  LayerStream(Decoder frame, Read read) : frame_(std::make_shared<const Decoder>(std::move(frame))), read_(std::move(read)) {}

  const Decoder& frame() const { return *frame_; }
  int64_t layers() const { return frame_->config.num_layers; }
  // Throws as load_decoder does, and Interrupted on Ctrl-C.
  DecoderLayer read(int64_t layer, LayerParts parts = LayerParts::whole) const;
  // The model with that layer in its place and all others empty, for members of Decoder that take a layer's index.
  Decoder with_layer(int64_t layer, DecoderLayer weights) const;
  Decoder with_layer(int64_t layer) const { return with_layer(layer, read(layer)); }

  // The same model with each layer changed when it is read, under a frame of its own.
  LayerStream changed(Decoder frame, Change change) const;
  // All layers at once.
  Decoder load() const;

  at::Tensor last_hidden(const at::Tensor& ids) const;  // as Decoder's
  int64_t parameters() const;                           // weights counted once
  double cache_values_per_token_per_layer() const;      // as Decoder's

 private:
  std::shared_ptr<const Decoder> frame_;
  Read read_;
};

// A checkpoint whose tensors are read layer by layer; embedding, final norm and head at once. Throws as load_decoder does.
LayerStream open_layers(std::shared_ptr<const Checkpoint> checkpoint, at::Device device, at::ScalarType dtype);

// Names and tensors of a layer as a file has them; also of an outline, whose tensors have shapes alone.
using ListTensors = std::function<std::vector<std::pair<std::string, at::Tensor>>(int64_t layer, const DecoderLayer& weights)>;
// What a writer of files is given for them, layer after layer: a layer is read when the first of its tensors is asked for, and goes with
// the last.
LaterTensors later_tensors(const LayerStream& model, const ListTensors& list);

}  // namespace mla
