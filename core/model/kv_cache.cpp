#include "core/model/kv_cache.h"

namespace mla {
namespace {

// `store` grown to hold `more` after `length` tokens; returns the view of all tokens.
at::Tensor grow(at::Tensor& store, int64_t length, const at::Tensor& more) {
  const int64_t total = length + more.size(1);
  if (!store.defined() || store.size(1) < total) {
    at::Tensor larger = at::empty({more.size(0), std::max(total, 2 * length), more.size(2)}, more.options());
    if (length > 0) larger.narrow(1, 0, length).copy_(store.narrow(1, 0, length));
    store = larger;
  }
  store.narrow(1, length, more.size(1)).copy_(more);
  return store.narrow(1, 0, total);
}

}  // namespace

void LayerCache::append(const at::Tensor& more_first, const at::Tensor& more_second) {
  const int64_t before = length();
  first = grow(first_store_, before, more_first);
  second = grow(second_store_, before, more_second);
}

}  // namespace mla
