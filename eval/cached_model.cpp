#include "eval/cached_model.h"

#include "core/base/error.h"
#include "core/base/process.h"

namespace mla {

at::Tensor CachedModel::last_hidden(const at::Tensor& ids) {
  KvCache cache{{}, format_};
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) {
    throw_if_interrupted();
    hidden.push_back(decoder_.last_hidden(ids.narrow(1, t, 1), &cache));
  }
  bytes_ += cache.bytes();
  tokens_ += ids.numel();
  return at::cat(hidden, 1);
}

at::Tensor CachedModel::packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) {
  std::vector<at::Tensor> hidden;
  int64_t start = 0;
  for (const Segment& segment : segments) {
    if (segment.mask.defined() || segment.cache != nullptr || segment.prefix != nullptr)
      fail<ShapeError>("cached_model", "wanted plain sequences, got a segment with a mask, a cache or a prefix");
    const int64_t count = segment.positions.numel();
    hidden.push_back(last_hidden(ids.narrow(0, start, count).unsqueeze(0))[0]);
    start += count;
  }
  return at::cat(hidden);
}

}  // namespace mla
