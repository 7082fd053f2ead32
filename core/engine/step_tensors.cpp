#include "core/engine/step_tensors.h"

namespace mla {

at::Tensor StepBuffers::get(const std::string& name, at::IntArrayRef sizes, at::ScalarType dtype) {
  std::string key = name + '/' + at::toString(dtype);
  for (const int64_t size : sizes) key += '/' + std::to_string(size);
  at::Tensor& tensor = known_[key];
  if (!tensor.defined()) tensor = at::zeros(sizes, options_.dtype(dtype));
  return tensor;
}

void project_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor target = out;
  if (!bias.defined()) {
    at::mm_out(target, x, weight.t());
    return;
  }
  target.copy_(bias.unsqueeze(0).expand_as(target));  // a bias of two dims does not go to cuBLASLt, whose workspace would be an allocation
  at::addmm_out(target, target, x, weight.t());
}

void norm_rows(const EngineMachine& machine, const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t width = x.size(-1);
  machine.operators.residual_norm({type_of(x.scalar_type()), type_of(weight.scalar_type()), x.numel() / width, width, nullptr, x.data_ptr(), weight.const_data_ptr(), x.data_ptr(), static_cast<float>(eps)},
                                  stream_of(x.device()));
}

GroupedProduct::GroupedProduct(const at::Tensor& w, int64_t batch, int64_t heads, StepBuffers& buffers) : w_(w) {
  const int64_t groups = w.size(0), share = heads / groups;
  if (share == 1) return;
  rows_ = buffers.get("group_rows", {groups, batch, share, w.size(1)});
  products_ = buffers.get("group_products", {groups, batch, share, w.size(2)});
}

void GroupedProduct::apply(const at::Tensor& x, const at::Tensor& out) const {
  if (!rows_.defined()) {
    at::Tensor by_head = out.transpose(0, 1);
    at::bmm_out(by_head, x.transpose(0, 1), w_);
    return;
  }
  const int64_t groups = w_.size(0), share = rows_.size(2);
  const auto by_group = [&](const at::Tensor& t) { return t.unflatten(1, {groups, share}).permute({1, 0, 2, 3}); };
  rows_.copy_(by_group(x));
  at::Tensor products = products_.flatten(1, 2);
  at::bmm_out(products, rows_.flatten(1, 2), w_);
  by_group(out).copy_(products_);
}

}  // namespace mla
