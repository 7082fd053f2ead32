#include "eval/batch_generation.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/tensor/products.h"
#include "eval/engine_generation.h"
#include "eval/generation_rules.h"
#include "eval/halving.h"

namespace mla {
namespace {

// One sequence on its way.
struct Running {
  std::size_t request = 0;
  KvCache cache;
  std::vector<int32_t> ids;
  at::Tensor hidden;  // [D] at its last token
  bool finished = false;
  int64_t cache_bytes = 0, cache_tokens = 0;  // when it finished
};

struct Setting {
  LanguageModel& model;
  const Tokenizer& tokenizer;
  const std::vector<GenerationRequest>& requests;
  const CacheFormat& cache;
};

class Group {
 public:
  Group(const Setting& setting, const std::vector<std::size_t>& members) : model_(setting.model), tokenizer_(setting.tokenizer), requests_(setting.requests) {
    for (const std::size_t member : members) {
      running_.push_back({});
      running_.back().request = member;
      running_.back().cache.format = setting.cache;
    }
  }

  std::vector<Generated> run() {
    for (Running& sequence : running_) sequence.hidden = read_prompt(model_, requests_[sequence.request].prompt, sequence.cache);
    while (choose()) advance();
    std::vector<Generated> all;
    for (const Running& sequence : running_) {
      all.push_back({sequence.request, sequence.ids, generated_text(tokenizer_, requests_[sequence.request], sequence.ids), sequence.cache_bytes, sequence.cache_tokens});
    }
    return all;
  }

 private:
  // The next token of every sequence that goes on; false when none does.
  bool choose() {
    std::vector<at::Tensor> hidden;
    std::vector<Running*> active;
    for (Running& sequence : running_) {
      if (!sequence.finished && static_cast<int64_t>(sequence.ids.size()) >= requests_[sequence.request].max_new_tokens) finish(sequence);
      if (sequence.finished) continue;
      hidden.push_back(sequence.hidden);
      active.push_back(&sequence);
    }
    if (active.empty()) return false;
    at::Tensor logits = project(at::stack(hidden), model_.head()).to(at::kFloat);  // a soft-cap would not change their order
    for (std::size_t i = 0; i < active.size(); ++i) {
      const GenerationRequest& request = requests_[active[i]->request];
      if (static_cast<int64_t>(active[i]->ids.size()) >= request.min_new_tokens) continue;
      for (const int32_t id : request.stop_ids) logits[static_cast<int64_t>(i)][id] = -std::numeric_limits<float>::infinity();
    }
    const at::Tensor top = logits.argmax(-1).to(at::kCPU);
    bool any = false;
    for (std::size_t i = 0; i < active.size(); ++i) any = take(*active[i], static_cast<int32_t>(top[static_cast<int64_t>(i)].item<int64_t>())) || any;
    return any;
  }

  bool take(Running& sequence, int32_t id) {
    const GenerationRequest& request = requests_[sequence.request];
    if (is_stop_id(request, id)) {
      finish(sequence);
      return false;
    }
    sequence.ids.push_back(id);
    if (static_cast<int64_t>(sequence.ids.size()) >= request.max_new_tokens || stops(tokenizer_, sequence.ids, request.stop)) finish(sequence);
    return !sequence.finished;
  }

  static void finish(Running& sequence) {
    sequence.finished = true;
    sequence.cache_bytes = sequence.cache.bytes();
    sequence.cache_tokens = sequence.cache.length();
    sequence.cache = {};
    sequence.hidden = at::Tensor();
  }

  void advance() {
    throw_if_interrupted();
    std::vector<int64_t> ids;
    std::vector<Segment> segments;
    std::vector<Running*> active;
    for (Running& sequence : running_) {
      if (sequence.finished) continue;
      ids.push_back(sequence.ids.back());
      segments.push_back({positions_from(sequence.cache.length(), 1), {}, &sequence.cache});
      active.push_back(&sequence);
    }
    const at::Tensor hidden = model_.packed_hidden(at::tensor(ids, at::kLong), segments);
    for (std::size_t i = 0; i < active.size(); ++i) active[i]->hidden = hidden[static_cast<int64_t>(i)];
  }

  LanguageModel& model_;
  const Tokenizer& tokenizer_;
  const std::vector<GenerationRequest>& requests_;
  std::vector<Running> running_;
};

Json to_json(const std::vector<Generated>& group) {
  Json all = Json::array();
  for (const Generated& one : group) {
    const auto* text = reinterpret_cast<const std::uint8_t*>(one.text.data());  // a cut text may end within a character
    all.push_back(Json::array({one.request, one.ids, Json::binary({text, text + one.text.size()}), one.cache_bytes, one.cache_tokens, one.decode}));
  }
  return all;
}

std::vector<Generated> group_of(const Json& all) {
  std::vector<Generated> group;
  for (const Json& one : all) {
    const auto& text = one.at(2).get_binary();
    group.push_back({one.at(0), one.at(1), std::string(text.begin(), text.end()), one.at(3), one.at(4), one.at(5)});
  }
  return group;
}

}  // namespace

void generate_batches(LanguageModel& model, const Tokenizer& tokenizer, const std::vector<GenerationRequest>& requests, const BatchOptions& options,
                      const std::function<void(const std::vector<Generated>&)>& finished) {
  if (options.batch < 1) fail<ConfigError>("generation", "wanted a batch of at least 1, got ", options.batch);
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (const std::size_t i : order)
    if (requests[i].prompt.empty()) fail<ConfigError>("generation", "wanted a prompt of at least one token in item ", i, ", got none");
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return requests[a].prompt.size() > requests[b].prompt.size(); });

  const Decoder* decoder = model.decoder();
  if (decoder == nullptr && options.decode == DecodePath::engine) fail<ConfigError>("generation", "wanted a whole decoder for the decode engine, got a model of another kind; use --decode libtorch");
  const DecodeWay way = decoder != nullptr ? decode_way(options.decode, *decoder, options.cache, true) : DecodeWay();

  const auto group_size = static_cast<std::size_t>(options.batch);
  Halving halving("sequences");
  for (std::size_t first = 0; first < order.size(); first += group_size) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<std::size_t> members(begin, begin + static_cast<std::ptrdiff_t>(std::min(group_size, order.size() - first)));
    const auto is_done = [&](std::size_t i) { return i < options.done.size() && options.done[i]; };
    if (std::all_of(members.begin(), members.end(), is_done)) continue;
    const auto generate_group = [&] {
      std::vector<Generated> all;
      halving.run(members.size(), [&](std::size_t start, std::size_t end) {
        const auto at_member = [&](std::size_t i) { return members.begin() + static_cast<std::ptrdiff_t>(i); };
        const std::vector<std::size_t> group{at_member(start), at_member(end)};
        const std::vector<Generated> done = way.engine ? generate_with_engine(model, *way.engine, tokenizer, requests, group, options.cache) : Group({model, tokenizer, requests, options.cache}, group).run();
        all.insert(all.end(), done.begin(), done.end());
      });
      for (Generated& one : all) one.decode = decode_record(way.name(), way.reason);
      return all;
    };
    if (options.division == nullptr) finished(generate_group());
    else if (const std::optional<Json> shared = options.division->share(static_cast<int64_t>(first / group_size), [&] { return to_json(generate_group()); })) finished(group_of(*shared));
  }
}

}  // namespace mla
