#include "core/engine/decode_engine.h"

#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/base/error.h"
#include "core/base/process.h"

namespace mla {
namespace {

int64_t pages_of(int64_t tokens) { return (tokens + gpu::kPageTokens - 1) / gpu::kPageTokens; }

// Pages of a sequence's ring: residual + 2 tokens in succession touch no more, wherever they begin.
int64_t ring_pages(int64_t residual) { return residual / gpu::kPageTokens + 2; }

// For the length of some steps. A step writes each element once, so no order of threads shows; ATen's deterministic scatter would sort, and
// allocate what it sorts in.
class AnyOrder {
 public:
  AnyOrder() : before_(at::globalContext().deterministicAlgorithms()), warn_(at::globalContext().deterministicAlgorithmsWarnOnly()) { at::globalContext().setDeterministicAlgorithms(false, warn_); }
  ~AnyOrder() { at::globalContext().setDeterministicAlgorithms(before_, warn_); }
  AnyOrder(const AnyOrder&) = delete;
  AnyOrder& operator=(const AnyOrder&) = delete;

 private:
  bool before_, warn_;
};

const std::vector<int64_t>& held(const Decoder& decoder, const std::vector<int64_t>& room, const CacheFormat& format) {
  if (const std::optional<std::string> reason = why_not_held(decoder, format)) fail<ConfigError>("engine", "wanted a model that the decode engine holds, but ", *reason);
  if (room.empty()) fail<ShapeError>("engine", "wanted at least one sequence, got none");
  for (const int64_t tokens : room)
    if (tokens < 0 || tokens > INT32_MAX / 2) fail<ShapeError>("engine", "wanted room for 0 or more tokens, got ", tokens);
  return room;
}

// Page n of a sequence is page n mod R of its ring.
at::Tensor ring_table(int64_t batch, int64_t max_pages, int64_t ring) {
  const at::Tensor within = at::arange(max_pages, at::kLong).remainder(ring), own = at::arange(batch, at::kLong).unsqueeze(1) * ring;
  return (own + within).to(at::kInt);
}

EngineBatch make_batch(const std::vector<int64_t>& room, const CacheFormat& format, at::Device device) {
  EngineBatch batch{.room = {room.begin(), room.end()}, .format = format};
  int64_t pages = 0, most = 1;
  for (const int64_t tokens : room) pages += pages_of(tokens), most = std::max(most, pages_of(tokens));
  gpu::PagedCachePlan plan(static_cast<int32_t>(batch.size()), static_cast<int32_t>(pages), static_cast<int32_t>(most));
  for (int32_t b = 0; b < batch.size(); ++b) plan.append(b, batch.room[static_cast<std::size_t>(b)]);
  batch.whole = {at::tensor(plan.page_table(), at::kInt).view({batch.size(), most}).to(device), pages};
  const auto ints = [&] { return at::zeros({batch.size()}, at::TensorOptions(at::kInt).device(device)); };
  batch.sequence = at::arange(batch.size(), at::TensorOptions(at::kInt).device(device));
  batch.position = ints();
  batch.length = ints();
  if (!format.quant) return batch;
  const int64_t ring = ring_pages(format.residual);
  batch.ring = {ring_table(batch.size(), most, ring).to(device), batch.size() * ring};
  batch.leaving = ints();
  batch.leaving_row = ints().to(at::kLong);
  batch.quantised = ints();
  return batch;
}

}  // namespace

DecodeEngine::DecodeEngine(const Decoder& decoder, const EngineMachine& machine, const std::vector<int64_t>& room, const EngineOptions& options)
    : decoder_(decoder), machine_(machine), options_(options), room_(held(decoder, room, options.cache)), lengths_(room.size(), 0), buffers_(decoder.embedding.options()),
      batch_(make_batch(room, options.cache, decoder.device())), choice_(decoder, machine, batch_.longest(), buffers_, batch_.size()), graph_(machine.operators.table()) {
  const c10::InferenceMode inference;
  const int64_t b = batch_.size(), width = decoder.config.hidden_size;
  residual_ = buffers_.get("residual", {b, width});
  normed_ = buffers_.get("normed", {b, width});
  added_ = buffers_.get("added", {b, width});
  if (decoder.config.embedding_scale != 1) embedding_scale_ = at::full({}, decoder.config.embedding_scale, residual_.options());
  if (options.cache.quant) ring_row_ = at::arange(b, batch_.leaving_row.options()) * (ring_pages(options.cache.residual) * gpu::kPageTokens);
  for (const DecoderLayer& layer : decoder.layers) attention_.push_back(make_attention_step(layer.attention, machine_, batch_, buffers_));
  if (decoder.device().is_cuda()) stream_ = c10::impl::VirtualGuardImpl(decoder.device().type()).getNewStream(decoder.device());
}

DecodeEngine::~DecodeEngine() = default;

void DecodeEngine::check_room(int64_t sequence, int64_t more) const {
  const auto b = static_cast<std::size_t>(sequence);
  if (lengths_[b] + more > room_[b])
    fail<ResourceError>("engine", "wanted ", more, " more tokens of sequence ", sequence, ", which has ", lengths_[b], " in its cache and pages for ", room_[b], "; reserve more before decoding");
}

void DecodeEngine::adopt(int64_t first, KvCache& cache, const at::Tensor& next) {
  const c10::InferenceMode inference;
  const int64_t sequences = next.size(0), past = cache.length();
  if (next.dim() != 2 || first < 0 || first + sequences > batch_.size()) fail<ShapeError>("engine", "wanted next tokens [S,n] of sequences below ", batch_.size(), ", got ", next.sizes(), " from ", first);
  if (!cache.format.own()) fail<ShapeError>("engine", "wanted a cache in the model's own dtype, got ", cache_format_name(cache.format));
  for (int64_t b = first; b < first + sequences; ++b) {
    lengths_[static_cast<std::size_t>(b)] = 0;
    check_room(b, past);
    lengths_[static_cast<std::size_t>(b)] = past;
  }
  for (std::size_t i = 0; i < cache.layers.size() && past > 0; ++i) {
    const LayerCache::Streams rows = cache.layers[i].read();
    if (rows.first.size(0) != sequences) fail<ShapeError>("engine", "wanted a cache of ", sequences, " sequences, got ", rows.first.sizes());
    attention_[i]->cache().adopt(first, rows);
    cache.layers[i] = LayerCache();
  }
  cache.layers.clear();
  choice_.give(first, past, next);
}

void DecodeEngine::run(int64_t steps) {
  const c10::InferenceMode inference;
  for (int64_t b = 0; b < batch_.size(); ++b) check_room(b, steps);
  const at::Device device = decoder_.device();
  synchronize(device);  // what another stream was given is there
  {
    const AnyOrder any_order;
    std::optional<c10::StreamGuard> own_stream;
    if (stream_) own_stream.emplace(*stream_);
    void* stream = stream_of(device);
    for (int64_t i = 0; i < steps; ++i) {
      throw_if_interrupted();
      const bool record = options_.graph && warm_ && stream_ && !graph_.recorded();  // the first step makes libraries' handles and workspaces
      if (record && !graph_.record(stream, [this] { step(); })) options_.graph = false;
      if (graph_.recorded()) graph_.launch(stream);
      else step();
      warm_ = true;
    }
  }
  for (int64_t& length : lengths_) length += steps;
  synchronize(device);
  if (steps > 0) choice_.require_finite();
}

void DecodeEngine::place() {
  const at::Tensor position = choice_.position().squeeze(1);
  batch_.position.copy_(position);
  batch_.length.copy_(position).add_(1);
  if (!options_.cache.quant) return;
  const int64_t kept = options_.cache.residual + 1;
  batch_.leaving.copy_(batch_.position).sub_(kept);
  batch_.leaving_row.copy_(position).sub_(kept).remainder_(ring_pages(options_.cache.residual) * gpu::kPageTokens).add_(ring_row_);
  batch_.quantised.copy_(batch_.length).sub_(kept).clamp_min_(0);
}

void DecodeEngine::add_and_norm(const at::Tensor& added, const at::Tensor& weight) {
  machine_.operators.residual_norm({type_of(residual_.scalar_type()), type_of(weight.scalar_type()), residual_.size(0), residual_.size(1), added.defined() ? added.const_data_ptr() : nullptr, residual_.data_ptr(),
                                    weight.const_data_ptr(), normed_.data_ptr(), static_cast<float>(decoder_.config.rms_norm_eps)},
                                   stream_of(residual_.device()));
}

void DecodeEngine::mlp(const DecoderLayer& layer) {
  gate_up_ = buffers_.get("gate_up", {residual_.size(0), layer.gate_up.size(0)});
  inner_ = buffers_.get("inner", {residual_.size(0), layer.down.size(1)});
  project_into(gate_up_, normed_, layer.gate_up, layer.gate_up_bias);
  const int64_t inner = inner_.size(1);
  if (decoder_.config.activation == Activation::silu) {
    machine_.operators.swiglu({type_of(inner_.scalar_type()), inner_.size(0), inner, gate_up_.const_data_ptr(), inner_.data_ptr()}, stream_of(inner_.device()));
  } else {
    at::gelu_out(inner_, gate_up_.narrow(1, 0, inner), decoder_.config.activation == Activation::gelu_tanh ? "tanh" : "none");
    inner_.mul_(gate_up_.narrow(1, inner, inner));
  }
  project_into(added_, inner_, layer.down, layer.down_bias);
}

// The order is that of Decoder::layer_forward(); a sum is made together with the norm behind it.
void DecodeEngine::step() {
  const double eps = decoder_.config.rms_norm_eps;
  place();
  at::index_select_out(residual_, decoder_.embedding, 0, choice_.fed());
  if (embedding_scale_.defined()) residual_.mul_(embedding_scale_);
  add_and_norm({}, decoder_.layers.empty() ? decoder_.final_norm : decoder_.layers.front().attention_norm);
  for (std::size_t i = 0; i < attention_.size(); ++i) {
    const DecoderLayer& layer = decoder_.layers[i];
    attention_[i]->run(normed_, added_);
    if (layer.attention_post_norm.defined()) norm_rows(machine_, added_, layer.attention_post_norm, eps);
    add_and_norm(added_, layer.mlp_norm);
    mlp(layer);
    if (layer.mlp_post_norm.defined()) norm_rows(machine_, added_, layer.mlp_post_norm, eps);
    add_and_norm(added_, i + 1 < attention_.size() ? decoder_.layers[i + 1].attention_norm : decoder_.final_norm);
  }
  choice_.choose(normed_);
}

void DecodeEngine::save() {
  const c10::InferenceMode inference;
  saved_lengths_ = lengths_;
  saved_position_ = choice_.position().clone();
  for (const std::unique_ptr<AttentionStep>& step : attention_) step->cache().save();
}

void DecodeEngine::restore() {
  const c10::InferenceMode inference;
  lengths_ = saved_lengths_;
  choice_.position().copy_(saved_position_);
  for (const std::unique_ptr<AttentionStep>& step : attention_) step->cache().restore();
}

at::Tensor DecodeEngine::logits() const {
  const at::Tensor logits = choice_.logits().to(at::kFloat, false, true);
  const double cap = decoder_.config.logit_softcap;
  return cap > 0 ? at::tanh(logits / cap) * cap : logits;
}

int64_t DecodeEngine::cache_bytes(int64_t tokens) const {
  int64_t sum = 0;
  for (const std::unique_ptr<AttentionStep>& step : attention_) sum += step->cache().bytes(tokens);
  return sum;
}

int64_t DecodeEngine::cache_bytes() const {
  int64_t sum = 0;
  for (const int64_t length : lengths_) sum += cache_bytes(length);
  return sum;
}

int64_t DecodeEngine::page_bytes() const {
  int64_t sum = 0;
  for (const std::unique_ptr<AttentionStep>& step : attention_) sum += step->cache().page_bytes();
  return sum;
}

}  // namespace mla
