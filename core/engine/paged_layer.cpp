#include "core/engine/paged_layer.h"

namespace mla {
namespace {

gpu::CacheKind kind_of(gpu::Type type) { return static_cast<gpu::CacheKind>(type); }

at::Tensor count_up(int64_t count, at::Device device) { return at::arange(count, at::TensorOptions(at::kInt).device(device)); }

}  // namespace

CacheShape cache_shape(const GqaWeights& w, int64_t batch, gpu::Type type) {
  const auto heads = static_cast<int32_t>(w.heads), groups = static_cast<int32_t>(w.kv_heads), dim = static_cast<int32_t>(w.head_dim);
  const StreamShape stream{kind_of(type), w.kv_heads, w.head_dim};
  return {.decode = {.batch = static_cast<int32_t>(batch), .heads = heads, .groups = groups, .key_dim = dim, .rope_dim = 0, .value_dim = dim, .type = type, .kind = kind_of(type), .values_are_keys = false},
          .first = stream, .second = stream, .first_is_rotated = true, .scale = w.scale, .limits = w.limits, .rope = w.rope};
}

CacheShape cache_shape(const MlaWeights& w, int64_t batch, gpu::Type type) {
  const int64_t rope_dim = w.rope.dims(), rope_heads = rope_dim > 0 ? w.rope.rope_heads() : 1;
  const auto rank = static_cast<int32_t>(w.rank());
  return {.decode = {.batch = static_cast<int32_t>(batch), .heads = static_cast<int32_t>(w.heads), .groups = static_cast<int32_t>(rope_heads), .key_dim = rank,
                     .rope_dim = static_cast<int32_t>(rope_dim), .value_dim = rank, .type = type, .kind = kind_of(type)},
          .first = {kind_of(type), 1, w.rank()}, .second = {kind_of(type), rope_heads, rope_dim}, .scale = w.scale, .limits = w.limits, .rope = w.rope};
}

CacheShape quantised(CacheShape shape, const QuantFormat& format) {
  shape.decode.kind = shape.first.kind = format.bits == 8 ? gpu::CacheKind::int8 : gpu::CacheKind::int4;
  shape.decode.quant_group = static_cast<int32_t>(format.group);
  shape.first.quant_group = shape.second.quant_group = format.group;
  if (shape.first_is_rotated) shape.second.kind = shape.first.kind;
  return shape;
}

RopeTable decode_angles(const RopePlan& plan, int64_t count, at::Device device) {
  const int64_t alike = plan.by_length() ? std::min(plan.short_length, count) : count;
  std::vector<at::Tensor> cos, sin;
  const auto add = [&](int64_t start, int64_t more) {
    const RopeTable table = rope_table(plan, start, more, device);
    cos.push_back(table.cos);
    sin.push_back(table.sin);
  };
  if (alike > 0) add(0, alike);
  for (int64_t position = alike; position < count; ++position) add(position, 1);
  return cos.size() == 1 ? RopeTable{cos[0], sin[0]} : RopeTable{at::cat(cos), at::cat(sin)};
}

PagedLayer::PagedLayer(const CacheShape& plain, const EngineMachine& machine, const EngineBatch& batch, StepBuffers& buffers) : shape_(plain), machine_(machine), batch_(batch) {
  const at::Device device = buffers.options().device();
  const ScoreLimits& limits = plain.limits;
  if (shape_.rope.dims() > 0) angles_ = decode_angles(shape_.rope, std::max<int64_t>(1, batch.longest()), device);
  if (batch.format.quant) {
    recent_ = Store{PagedStream(plain.first, batch.ring.count, device), PagedStream(plain.second, batch.ring.count, device), &batch.ring};
    recent_->first.clear();
    recent_->second.clear();
    shape_ = quantised(plain, *batch.format.quant);
  }
  whole_ = {PagedStream(shape_.first, batch.whole.count, device), PagedStream(shape_.second, batch.whole.count, device), &batch.whole};
  const int64_t kept = batch.format.residual + 1;
  if (!recent_) {
    newest_decode_ = decode_args(whole_, batch.length, limits.window);
  } else {
    newest_decode_ = decode_args(*recent_, batch.length, limits.window > 0 ? std::min(limits.window, kept) : kept);
    if (limits.window == 0 || limits.window > kept) old_decode_ = decode_args(whole_, batch.quantised, limits.window > 0 ? limits.window - kept : 0);
    const auto scratch = [&](const char* name, const PagedStream& stream) { return stream.values().defined() ? buffers.get(name, {batch.size(), stream.values().size(2)}, at::kByte) : at::Tensor(); };
    leaving_first_ = scratch("leaving_first", recent_->first);
    leaving_second_ = scratch("leaving_second", recent_->second);
    const int64_t heads = plain.decode.heads;
    sums_ = buffers.get("sums", {batch.size(), heads}, at::kFloat);
    old_sums_ = buffers.get("old_sums", {batch.size(), heads}, at::kFloat);
    weight_ = buffers.get("weight", {batch.size(), heads, 1}, at::kFloat);
    old_out_ = buffers.get("old_out", {batch.size(), heads, plain.decode.value_dim});
    wide_ = buffers.get("wide", old_out_.sizes(), at::kFloat);
    old_wide_ = buffers.get("old_wide", old_out_.sizes(), at::kFloat);
  }
  for (gpu::DecodeArgs* args : {&newest_decode_, &old_decode_})
    if (args->plan.workspace_bytes > 0) args->workspace = buffers.get("workspace", {args->plan.workspace_bytes}, at::kByte).data_ptr();
}

gpu::DecodeArgs PagedLayer::decode_args(const Store& store, const at::Tensor& lengths, int64_t window) const {
  gpu::DecodeArgs a;
  a.shape = shape_.decode;
  a.shape.kind = store.first.shape().kind;
  a.window = static_cast<int32_t>(window);
  a.plan = gpu::plan_decode(a.shape, batch_.room, a.window, machine_.limits);
  a.scale = static_cast<float>(shape_.scale);
  a.softcap = static_cast<float>(shape_.limits.softcap);
  a.key = store.first.rows(a.shape.values_are_keys);
  a.affine = store.first.affine(a.shape.values_are_keys);
  (a.shape.values_are_keys ? a.rope : a.value) = store.second.rows();
  if (!a.shape.values_are_keys) a.value_affine = store.second.affine();
  a.page_table = store.table->pages.const_data_ptr<int32_t>();
  a.page_table_stride = a.max_pages = static_cast<int32_t>(store.table->pages.size(1));
  a.page_count = static_cast<int32_t>(store.table->count);
  a.lengths = lengths.const_data_ptr<int32_t>();
  return a;
}

gpu::CacheAppendArgs PagedLayer::append_args(const PageTable& table, const at::Tensor& sequence, const at::Tensor& position) const {
  gpu::CacheAppendArgs a;
  a.type = shape_.decode.type;
  a.tokens = static_cast<int32_t>(sequence.numel());
  a.quant_group = static_cast<int32_t>(shape_.first.quant_group);
  a.sequence = sequence.const_data_ptr<int32_t>();
  a.position = position.const_data_ptr<int32_t>();
  a.page_table = table.pages.const_data_ptr<int32_t>();
  a.page_table_stride = a.max_pages = static_cast<int32_t>(table.pages.size(1));
  a.batch = static_cast<int32_t>(table.pages.size(0));
  a.page_count = static_cast<int32_t>(table.count);
  return a;
}

void PagedLayer::append(const NewRows& rows) const {
  const Store& store = newest();
  const PagedStream &plain = shape_.first_is_rotated ? store.second : store.first, &rotated = shape_.first_is_rotated ? store.first : store.second;
  gpu::CacheAppendArgs a = append_args(*store.table, batch_.sequence, batch_.position);
  a.width = static_cast<int32_t>(plain.shape().width());
  a.plain = rows.plain.const_data_ptr();
  a.plain_stride = rows.plain.stride(0);
  a.plain_rows = plain.target();
  if (angles_.cos.defined()) {
    a.groups = static_cast<int32_t>(rotated.shape().groups);
    a.dim = static_cast<int32_t>(rotated.shape().dim);
    a.heads = shape_.decode.heads;
    a.rope_heads = static_cast<int32_t>(shape_.rope.rope_heads());
    a.rotated = rows.rotated.const_data_ptr();
    a.rotated_stride = rows.rotated.stride(0);
    a.queries = rows.queries.data_ptr();
    a.query_stride = rows.queries.stride(0);
    a.query_head = rows.queries.stride(1);
    a.cos = angles_.cos.const_data_ptr<float>();
    a.sin = angles_.sin.const_data_ptr<float>();
    a.positions_held = static_cast<int32_t>(angles_.cos.size(0));
    a.rotated_rows = rotated.target();
  }
  machine_.operators.cache_append(a, stream_of(rows.plain.device()));
  if (recent_) quantise_leaving();
}

void PagedLayer::copy_rows(const Store& store, const PagedStream& stream, const at::Tensor& rows, const at::Tensor& sequence, const at::Tensor& position) const {
  if (stream.shape().width() == 0) return;
  gpu::CacheAppendArgs a = append_args(*store.table, sequence, position);
  a.width = static_cast<int32_t>(stream.shape().width());
  a.plain = rows.const_data_ptr();
  a.plain_stride = a.width;
  a.plain_rows = stream.target();
  machine_.operators.cache_append(a, stream_of(rows.device()));
}

void PagedLayer::quantise_leaving() const {
  const auto move = [&](const PagedStream& from, const PagedStream& to, at::Tensor rows) {
    if (!rows.defined()) return;
    at::index_select_out(rows, from.values().flatten(0, 1), 0, batch_.leaving_row);
    copy_rows(whole_, to, rows, batch_.sequence, batch_.leaving);
  };
  move(recent_->first, whole_.first, leaving_first_);
  move(recent_->second, whole_.second, leaving_second_);
}

void PagedLayer::decode(gpu::DecodeArgs a, const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const {
  a.q = q.const_data_ptr();
  a.q_batch = q.stride(0);
  a.q_head = q.stride(1);
  if (q_rope.defined()) {
    a.q_rope = q_rope.const_data_ptr();
    a.q_rope_batch = q_rope.stride(0);
    a.q_rope_head = q_rope.stride(1);
  }
  a.out = out.data_ptr();
  a.out_batch = out.stride(0);
  a.out_head = out.stride(1);
  machine_.operators.decode(a, stream_of(q.device()));
}

void PagedLayer::mix(const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const {
  if (old_decode_.lengths != nullptr) mix_both(q, q_rope, out);
  else decode(newest_decode_, q, q_rope, out);
}

// Softmax over the union of both parts: each part's result, weighted by its share of the denominator.
void PagedLayer::mix_both(const at::Tensor& q, const at::Tensor& q_rope, const at::Tensor& out) const {
  gpu::DecodeArgs newest = newest_decode_, old = old_decode_;
  newest.log_sum = sums_.data_ptr<float>();
  old.log_sum = old_sums_.data_ptr<float>();
  decode(newest, q, q_rope, out);
  decode(old, q, q_rope, old_out_);
  at::Tensor weight = weight_.squeeze(2), mixed = wide_;
  at::sub_out(weight, old_sums_, sums_).sigmoid_();  // 0 where nothing is old: its sum is minus infinity
  wide_.copy_(out);
  old_wide_.copy_(old_out_);
  at::lerp_out(mixed, wide_, old_wide_, weight_);
  out.copy_(mixed);
}

void PagedLayer::adopt(int64_t first, const LayerCache::Streams& rows) const {
  const int64_t sequences = rows.first.size(0), tokens = rows.first.size(1);
  const at::Device device = rows.first.device();
  const auto copy = [&](const Store& store, int64_t start, int64_t count) {
    if (count <= 0) return;
    const at::Tensor sequence = (count_up(sequences, device) + first).repeat_interleave(count), position = (count_up(count, device) + start).repeat({sequences});
    const auto part = [&](const at::Tensor& stream) { return stream.narrow(1, start, count).flatten(0, 1).contiguous(); };
    copy_rows(store, store.first, part(rows.first), sequence.to(at::kInt), position.to(at::kInt));
    copy_rows(store, store.second, part(rows.second), sequence.to(at::kInt), position.to(at::kInt));
  };
  if (!recent_) return copy(whole_, 0, tokens);
  const int64_t kept = std::min(tokens, batch_.format.residual + 1);
  copy(whole_, 0, tokens - batch_.format.residual);
  copy(*recent_, tokens - kept, kept);
}

void PagedLayer::save() {
  if (!recent_) return;
  saved_first_ = recent_->first.values().clone();
  if (recent_->second.values().defined()) saved_second_ = recent_->second.values().clone();
}

void PagedLayer::restore() const {
  if (saved_first_.defined()) recent_->first.values().copy_(saved_first_);
  if (saved_second_.defined()) recent_->second.values().copy_(saved_second_);
}

int64_t PagedLayer::bytes(int64_t tokens) const {
  const auto of = [](const Store& store, int64_t count) { return count * (store.first.bytes_per_token() + store.second.bytes_per_token()); };
  if (!recent_) return of(whole_, tokens);
  const int64_t old = std::max<int64_t>(0, tokens - batch_.format.residual);
  return of(whole_, old) + of(*recent_, tokens - old);
}

int64_t PagedLayer::page_bytes() const { return gpu::kPageTokens * (whole_.first.bytes_per_token() + whole_.second.bytes_per_token()); }

}  // namespace mla
