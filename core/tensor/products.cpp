#include "core/tensor/products.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

namespace mla {
namespace {

constexpr int64_t kFewRows = 4;  // below, a product reads the weights once and the library makes no difference

// LibTorch's own entry to oneDNN for plain tensors. It has no gradient, and builds without oneDNN lack it.
using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                          c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
const auto& onednn() {
  static const std::optional<c10::TypedOperatorHandle<Linear>> found = []() -> std::optional<c10::TypedOperatorHandle<Linear>> {
#if defined(__x86_64__)
    if (__builtin_cpu_is("intel") || !__builtin_cpu_supports("avx2")) return std::nullopt;
    if (const auto handle = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""})) return handle->typed<Linear>();
#endif
    return std::nullopt;
  }();
  return found;
}

// oneDNN has fast kernels for x by rows and a weight by rows or by columns; other strides fall to a reference of it that is a hundred
// times slower.
at::Tensor by_onednn(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor plain = weight.t().is_contiguous() ? weight : weight.contiguous();
  const std::optional<at::Tensor> added = bias.defined() ? std::optional(bias) : std::nullopt;
  return onednn()->call(x.contiguous(), plain, added, "none", c10::List<std::optional<at::Scalar>>(), "");
}

bool suits_onednn(const at::Tensor& x, const at::Tensor& weight) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && weight.numel() > 0 &&
         x.numel() >= kFewRows * x.size(-1) && onednn().has_value();
}

struct Projection : torch::autograd::Function<Projection> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight) {
    context->save_for_backward({x, weight});
    return by_onednn(x, weight, {});
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor rows = gradients[0].reshape({-1, weight.size(0)});
    return {context->needs_input_grad(0) ? product(rows, weight).view(x.sizes()) : at::Tensor(),
            context->needs_input_grad(1) ? product(rows.t(), x.reshape({-1, x.size(-1)})) : at::Tensor()};
  }
};

at::Tensor with_gradient(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor products = Projection::apply(x, weight);
  return bias.defined() ? products + bias : products;
}

}  // namespace

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!suits_onednn(x, weight)) return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  if (at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad())))
    return with_gradient(x, weight, bias);
  return by_onednn(x, weight, bias);
}

}  // namespace mla
