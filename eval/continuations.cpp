#include "eval/continuations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/cuda/token_scores.h"
#include "eval/halving.h"

namespace mla {
namespace {

constexpr std::size_t kWorthKeeping = 32;  // tokens that all items share, from which on a cache of them pays

// One request as the model reads it: all tokens but the last, and how many of the predictions count.
struct Line {
  std::vector<int32_t> input;
  std::vector<int32_t> targets;  // the continuation; predicted by the last positions of `input`
};

Line make_line(const TokenRequest& request, int64_t max_length, std::size_t item) {
  if (request.context.empty() || request.continuation.empty())
    fail<ConfigError>("continuations", "wanted at least one token of context and of continuation in item ", item, ", got ", request.context.size(),
                      " and ", request.continuation.size());
  Line line{request.context, request.continuation};
  line.input.insert(line.input.end(), request.continuation.begin(), request.continuation.end() - 1);
  const auto limit = static_cast<std::size_t>(max_length);
  if (line.targets.size() > limit)
    fail<ConfigError>("continuations", "wanted a continuation of at most ", max_length, " tokens, what the model can read, in item ", item, ", got ", line.targets.size());
  if (line.input.size() > limit) line.input.erase(line.input.begin(), line.input.end() - static_cast<std::ptrdiff_t>(limit));
  return line;
}

std::size_t shared_length(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

// An item's requests as one beginning and its branches: [shared, rest of 0, rest of 1, ...].
struct Tree {
  std::vector<int32_t> ids;
  std::vector<int64_t> positions;
  std::vector<std::size_t> branch_start;  // in ids, of each request
  std::size_t shared = 0;
  std::vector<Line> lines;
};

// `skipped` first tokens are in the cache that all items share.
Tree make_tree(const RequestItem& item, int64_t max_length, std::size_t index, std::size_t skipped = 0) {
  Tree tree;
  for (const TokenRequest& request : item) tree.lines.push_back(make_line(request, max_length, index));
  const std::vector<int32_t>& first = tree.lines.front().input;
  tree.shared = first.size();
  for (const Line& line : tree.lines) tree.shared = std::min(tree.shared, shared_length(first, line.input));
  const auto append = [&](const std::vector<int32_t>& input, std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) tree.ids.push_back(input[i]), tree.positions.push_back(static_cast<int64_t>(i));
  };
  append(first, skipped, tree.shared);
  for (const Line& line : tree.lines) {
    tree.branch_start.push_back(tree.ids.size());
    append(line.input, tree.shared, line.input.size());
  }
  tree.shared -= skipped;
  return tree;
}

// 0 where a token of the tree may look, -inf elsewhere: [T, skipped + T].
at::Tensor tree_mask(const Tree& tree, std::size_t skipped) {
  const auto tokens = static_cast<int64_t>(tree.ids.size()), shared = static_cast<int64_t>(tree.shared);
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  at::Tensor mask = at::full({tokens, tokens}, hidden).triu_(1);
  for (const std::size_t start : tree.branch_start) {
    const auto first = static_cast<int64_t>(start);
    if (first < tokens && first > shared) mask.slice(0, first).slice(1, shared, first).fill_(hidden);
  }
  return at::constant_pad_nd(mask, {static_cast<int64_t>(skipped), 0});
}

at::Tensor to_tensor(const std::vector<int32_t>& ids) { return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong); }

// Where a request's j-th input token stands in its tree.
int64_t row_of(const Tree& tree, std::size_t request, std::size_t input_index, std::size_t skipped) {
  const std::size_t in_tree = input_index - skipped;
  return static_cast<int64_t>(in_tree < tree.shared ? in_tree : tree.branch_start[request] + in_tree - tree.shared);
}

class Scorer {
 public:
  Scorer(const std::vector<LanguageModel*>& models, const std::vector<RequestItem>& items, const ContinuationOptions& options)
      : models_(models), items_(items), options_(options) {
    skipped_ = common_prefix();
    if (skipped_ == 0) return;
    const std::vector<int32_t> input = make_line(items.front().front(), options.max_length, 0).input;
    const at::Tensor ids = to_tensor({input.begin(), input.begin() + static_cast<std::ptrdiff_t>(skipped_)});
    prefixes_.resize(models.size());
    for (std::size_t m = 0; m < models.size(); ++m) models[m]->packed_hidden(ids, {{at::arange(ids.numel(), at::kLong), {}, &prefixes_[m]}});
  }

  // Items first .. end-1 in one row.
  std::vector<ItemScores> score(std::size_t first, std::size_t end) const {
    std::vector<Tree> trees;
    std::vector<int32_t> ids, targets;
    std::vector<int64_t> rows;
    for (std::size_t i = first; i < end; ++i) {
      trees.push_back(make_tree(items_[i], options_.max_length, i, skipped_));
      const Tree& tree = trees.back();
      for (std::size_t r = 0; r < tree.lines.size(); ++r) {
        const Line& line = tree.lines[r];
        for (std::size_t t = 0; t < line.targets.size(); ++t)
          rows.push_back(static_cast<int64_t>(ids.size()) + row_of(tree, r, line.input.size() - line.targets.size() + t, skipped_));
        targets.insert(targets.end(), line.targets.begin(), line.targets.end());
      }
      ids.insert(ids.end(), tree.ids.begin(), tree.ids.end());
    }
    std::vector<StageHidden> hidden;
    for (std::size_t m = 0; m < models_.size(); ++m) {
      std::vector<Segment> segments;
      for (const Tree& tree : trees) {
        Segment segment{at::tensor(tree.positions, at::kLong), {}, nullptr};
        if (skipped_ > 0) segment.prefix = &prefixes_[m];
        if (tree.lines.size() > 1) segment.mask = tree_mask(tree, skipped_);
        segments.push_back(segment);
      }
      const at::Tensor all = models_[m]->packed_hidden(to_tensor(ids), segments);
      hidden.push_back({all.index_select(0, at::tensor(rows, at::kLong).to(all.device())), models_[m]->head(), models_[m]->logit_softcap()});
    }
    return collect(trees, token_scores(hidden, to_tensor(targets)), to_tensor(targets), first);
  }

  std::size_t tokens_of(std::size_t item) const { return make_tree(items_[item], options_.max_length, item, skipped_).ids.size(); }

 private:
  // Tokens that all requests of all items begin with, at most all but one of each; 0 where too few to pay.
  std::size_t common_prefix() const {
    if (items_.size() < 2) return 0;
    const std::vector<int32_t> first = make_line(items_.front().front(), options_.max_length, 0).input;
    std::size_t shared = first.size();
    for (std::size_t i = 0; i < items_.size() && shared >= kWorthKeeping; ++i)
      for (const TokenRequest& request : items_[i]) {
        const Line line = make_line(request, options_.max_length, i);
        shared = std::min({shared, shared_length(first, line.input), line.input.size() - line.targets.size()});
      }
    return shared >= kWorthKeeping ? shared : 0;
  }

  std::vector<ItemScores> collect(const std::vector<Tree>& trees, const TokenScores& scores, const at::Tensor& targets, std::size_t first) const {
    const auto nll = scores.nll_nats.accessor<double, 2>(), kld = scores.kld_nats.accessor<double, 2>();
    const auto top = scores.top.accessor<int64_t, 2>();
    const auto same_top = scores.same_top.accessor<bool, 2>();
    const auto target = targets.accessor<int64_t, 1>();
    std::vector<ItemScores> all;
    int64_t at_token = 0;
    for (std::size_t i = 0; i < trees.size(); ++i) {
      ItemScores item(models_.size());
      for (const Line& line : trees[i].lines) {
        const auto count = static_cast<int64_t>(line.targets.size());
        for (std::size_t m = 0; m < models_.size(); ++m) {
          const auto stage = static_cast<int64_t>(m);
          ContinuationScore score;
          score.tokens = count;
          for (int64_t t = at_token; t < at_token + count; ++t) {
            score.log_likelihood -= nll[stage][t];
            score.each.push_back({nll[stage][t], kld[stage][t], same_top[stage][t]});
            score.divergence += kld[stage][t] / static_cast<double>(count);
            score.greedy = score.greedy && top[stage][t] == target[t];
          }
          if (!std::isfinite(score.log_likelihood))
            fail<NumericalError>("continuations", "wanted a finite log-likelihood in item ", first + i, ", got ", score.log_likelihood);
          item[m].push_back(score);
        }
        at_token += count;
      }
      all.push_back(std::move(item));
    }
    return all;
  }

  const std::vector<LanguageModel*>& models_;
  const std::vector<RequestItem>& items_;
  const ContinuationOptions& options_;
  std::size_t skipped_ = 0;
  std::vector<KvCache> prefixes_;  // one per model
};

Json to_json(const std::vector<ItemScores>& items) {
  Json all = Json::array();
  for (const ItemScores& item : items) {
    Json stages = Json::array();
    for (const std::vector<ContinuationScore>& stage : item) {
      Json scores = Json::array();
      for (const ContinuationScore& s : stage) {
        Json each = Json::array();
        for (const TokenScore& token : s.each) each.push_back(Json::array({token.nll, token.kld, token.same_top}));
        scores.push_back(Json::array({s.log_likelihood, s.greedy, s.tokens, s.divergence, std::move(each)}));
      }
      stages.push_back(std::move(scores));
    }
    all.push_back(std::move(stages));
  }
  return all;
}

std::vector<ItemScores> items_of(const Json& all) {
  std::vector<ItemScores> items;
  for (const Json& stages : all) {
    items.emplace_back();
    for (const Json& scores : stages) {
      items.back().emplace_back();
      for (const Json& s : scores) {
        ContinuationScore score{s.at(0), s.at(1), s.at(2), s.at(3), {}};
        for (const Json& token : s.at(4)) score.each.push_back({token.at(0), token.at(1), token.at(2)});
        items.back().back().push_back(std::move(score));
      }
    }
  }
  return items;
}

}  // namespace

void score_continuations(const std::vector<LanguageModel*>& models, const std::vector<RequestItem>& items, const ContinuationOptions& options,
                         const std::function<void(std::size_t, const std::vector<ItemScores>&)>& done) {
  if (models.empty() || options.max_length < 1) fail<ConfigError>("continuations", "wanted a model and a max_length above 0, got ", models.size(), " and ", options.max_length);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i].empty()) fail<ConfigError>("continuations", "wanted at least one request in item ", i, ", got none");
  if (items.empty()) return;
  const Scorer scorer(models, items, options);
  Halving halving("items");
  const auto score_batch = [&](std::size_t first, std::size_t end) {
    std::vector<ItemScores> scores;
    halving.run(end - first, [&](std::size_t from, std::size_t to) {
      for (ItemScores& item : scorer.score(first + from, first + to)) scores.push_back(std::move(item));
    });
    return scores;
  };
  int64_t batch = 0;
  for (std::size_t first = 0; first < items.size(); ++batch) {
    throw_if_interrupted();
    std::size_t end = first, tokens = 0;
    const auto fits = [&] {
      if (end == first) return true;
      if (options.batch_items > 0) return end - first < static_cast<std::size_t>(options.batch_items);
      return tokens + scorer.tokens_of(end) <= static_cast<std::size_t>(options.batch_tokens);
    };
    while (end < items.size() && fits()) tokens += scorer.tokens_of(end++);
    if (end > options.start) {
      if (options.division == nullptr) done(first, score_batch(first, end));
      else if (const std::optional<Json> shared = options.division->share(batch, [&] { return to_json(score_batch(first, end)); })) done(first, items_of(*shared));
    }
    first = end;
  }
}

}  // namespace mla
