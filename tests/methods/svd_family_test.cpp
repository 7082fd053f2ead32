// Closed forms of the factorizers and splitters of the SVD family.
#include "tests/support/catch.h"

#include <algorithm>
#include <limits>
#include <set>

#include "core/base/error.h"
#include "core/model/rope.h"
#include "methods/allocators/energy_count.h"
#include "methods/allocators/uniform.h"
#include "methods/factorizers/hadamard.h"
#include "methods/factorizers/score_svd.h"
#include "methods/factorizers/weighted_svd.h"
#include "methods/splitters/greedy_pairs.h"
#include "methods/splitters/rebuilt_keys.h"
#include "methods/splitters/tied_values.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr double kFp64 = 1e-10;  // decompositions in fp64, of well-conditioned matrices

at::Tensor random(int64_t rows, int64_t columns, uint64_t seed) { return tiny_inputs(1, rows, columns, seed)[0].to(at::kDouble); }

// E[x x^T] of correlated rows.
at::Tensor moment_of(int64_t width, uint64_t seed) {
  const at::Tensor x = random(200, width, seed).matmul(random(width, width, seed + 1));
  return x.t().matmul(x) / 200;
}

struct Layer {
  SplitLayer split;
  LayerStats stats;
};
Layer rebuilt_layer(const GqaWeights& weights, const at::Tensor& second) {
  GqaWeights wide = weights;
  for (at::Tensor* t : {&wide.q, &wide.k, &wide.v}) *t = t->to(at::kDouble);
  Layer layer;
  layer.stats.input = {200, second.select(0, 0), second};
  layer.split = make_rebuilt_keys()->split(wide, layer.stats);
  return layer;
}

// What part i of the spectrum makes of its rows when cut at rank r; up [G*2h, R] seen on the rows that it reaches.
at::Tensor rebuilt(const Layer& layer, const SpectrumPart& part, int64_t rank, bool keys) {
  const int64_t h = layer.split.v_dim;
  const at::Tensor up = part.up.view({layer.split.groups, 2 * h, -1}).narrow(1, keys ? 0 : h, h).flatten(0, 1);
  return up.narrow(1, 0, rank).matmul(part.down.narrow(0, 0, rank));
}

double weighted_error(const at::Tensor& difference, const at::Tensor& second) { return project_moment(difference, second).diagonal().sum().item<double>(); }

struct Svd {
  at::Tensor u, s, vh;
};
Svd svd_of(const at::Tensor& m) {
  const auto [u, s, vh] = at::linalg_svd(m, false);
  return {u, s, vh};
}
at::Tensor cut(const Svd& svd, int64_t rank) { return (svd.u.narrow(1, 0, rank) * svd.s.narrow(0, 0, rank)).matmul(svd.vh.narrow(0, 0, rank)); }

}  // namespace

TEST_CASE("whitened SVD equals SVD-LLM's Cholesky and CARE's symmetric root, and loses the discarded singular values", "[svd_family][oracle]") {
  const GqaWeights weights = tiny_gqa();
  const at::Tensor second = moment_of(24, 3);
  const Layer layer = rebuilt_layer(weights, second);
  const at::Tensor keys = layer.split.k_free, root = at::linalg_cholesky(second);
  const auto [values, vectors] = at::linalg_eigh(second);
  const at::Tensor symmetric = (vectors * values.sqrt()).matmul(vectors.t());

  const Spectrum spectrum = make_weighted_svd({})->factorize(layer.split, layer.stats);

  REQUIRE(spectrum.parts.size() == 2);
  for (const int64_t rank : {1, 5, 11}) {
    const at::Tensor ours = rebuilt(layer, spectrum.parts[0], rank, true);
    const Svd by_cholesky = svd_of(keys.matmul(root)), by_root = svd_of(keys.matmul(symmetric));
    CHECK(max_relative_error(ours, cut(by_cholesky, rank).matmul(at::linalg_inv(root))) < 1e-8);
    CHECK(max_relative_error(ours, cut(by_root, rank).matmul(at::linalg_inv(symmetric))) < 1e-8);
    const double lost = by_cholesky.s.slice(0, rank).square().sum().item<double>();
    CHECK(weighted_error(keys - ours, second) == Approx(lost).epsilon(1e-8));
    CHECK(spectrum.parts[0].energies.slice(0, rank).sum().item<double>() == Approx(lost).epsilon(1e-8));
  }
}

TEST_CASE("CARE's variant multiplies the weights by the shrunk covariance itself", "[svd_family][oracle]") {
  const at::Tensor second = moment_of(24, 5), mixed = second * 0.9 + at::eye(24, at::kDouble) * (0.1 * second.diagonal().mean());
  const Layer layer = rebuilt_layer(tiny_gqa(), second);

  const Spectrum spectrum = make_weighted_svd({.metric = SvdMetric::squared, .shrinkage = 0.1})->factorize(layer.split, layer.stats);

  const Svd values = svd_of(layer.split.v.matmul(mixed));
  CHECK(max_relative_error(rebuilt(layer, spectrum.parts[1], 6, false), cut(values, 6).matmul(at::linalg_inv(mixed))) < 1e-7);
  CHECK(max_relative_error(spectrum.parts[1].energies, values.s.square()) < 1e-8);
}

TEST_CASE("plain SVD is the truncated SVD of each weight", "[svd_family][oracle]") {
  const Layer layer = rebuilt_layer(tiny_gqa(), moment_of(24, 7));
  const Spectrum spectrum = make_weighted_svd({.metric = SvdMetric::weights})->factorize(layer.split, {});
  for (const int64_t rank : {1, 7, 16}) {
    CHECK(max_relative_error(rebuilt(layer, spectrum.parts[0], rank, true), cut(svd_of(layer.split.k_free), rank)) < 1e-8);
    CHECK(max_relative_error(rebuilt(layer, spectrum.parts[1], rank, false), cut(svd_of(layer.split.v), rank)) < 1e-8);
  }
}

TEST_CASE("the weighted error never grows with the rank, and bases are orthonormal", "[svd_family]") {
  const at::Tensor second = moment_of(24, 9);
  const Layer layer = rebuilt_layer(tiny_gqa(), second);
  const auto heads = GENERATE(0, 1);
  const Spectrum spectrum = make_weighted_svd({.heads_per_part = heads})->factorize(layer.split, layer.stats);
  const SpectrumPart& part = spectrum.parts[0];
  CHECK((part.up.t().matmul(part.up) - at::eye(part.up.size(1), at::kDouble)).abs().max().item<double>() < kFp64);
  const int64_t full = part.down.size(0);
  const at::Tensor all = rebuilt(layer, part, full, true);
  double last = std::numeric_limits<double>::infinity();
  for (int64_t rank = 0; rank <= full; ++rank) {
    const double error = weighted_error(all - rebuilt(layer, part, rank, true), second);
    CHECK(error <= last + 1e-12);
    last = error;
  }
  CHECK(last < 1e-20);
}

TEST_CASE("constant, absent and rank-deficient inputs stay finite and exact at full rank", "[svd_family][degenerate]") {
  const auto kind = GENERATE(0, 1, 2);
  const at::Tensor x = kind == 0 ? at::ones({1, 24}, at::kDouble) : kind == 1 ? at::zeros({1, 24}, at::kDouble) : random(3, 24, 15);
  GqaWeights weights = tiny_gqa();
  weights.k.narrow(0, 0, 4).zero_();  // and rank-deficient weights
  const Layer layer = rebuilt_layer(weights, x.t().matmul(x));
  for (const auto& factorizer : {make_weighted_svd({}), make_weighted_svd({.metric = SvdMetric::squared, .shrinkage = 0.01}), make_score_svd({}),
                                 make_score_svd({.heads_per_part = 0})}) {
    const Spectrum spectrum = factorizer->factorize(layer.split, layer.stats);
    at::Tensor keys = at::zeros_like(layer.split.k_free), values = at::zeros_like(layer.split.v);
    for (const SpectrumPart& part : spectrum.parts) {
      keys += rebuilt(layer, part, part.down.size(0), true);
      values += rebuilt(layer, part, part.down.size(0), false);
    }
    CHECK(max_relative_error(keys, layer.split.k_free) < 1e-8);
    CHECK(max_relative_error(values, layer.split.v) < 1e-8);
  }
  for (const auto alignment : {Alignment::regression, Alignment::procrustes}) {
    const at::Tensor k = layer.split.k_free.narrow(0, 0, 8), v = layer.split.v.narrow(0, 0, 8), second = layer.stats.input.second;
    const AlignedHead head = align_head(project_moment(k, second), k.matmul(second).matmul(v.t()), project_moment(v, second), {.nope_dim = 4, .alignment = alignment});
    CHECK(head.back.isfinite().all().item<bool>());
    CHECK((head.rotation.matmul(head.rotation.t()) - at::eye(8, at::kDouble)).abs().max().item<double>() < kFp64);
  }
}

TEST_CASE("KQ-SVD from second moments equals the truncated SVD of K Q^T and beats the SVD of K", "[svd_family][oracle]") {
  const at::Tensor k = random(60, 8, 21).matmul(random(8, 8, 22)), q = random(90, 8, 23).matmul(random(8, 8, 24));
  const at::Tensor scores = k.matmul(q.t());

  const ScoreMaps maps = score_maps({k.t().matmul(k)}, {q.t().matmul(q)}).front();

  const Svd best = svd_of(scores), of_keys = svd_of(k);
  for (const int64_t rank : {1, 3, 6}) {
    // k' = up down k per token, so K' = K down^T up^T.
    const at::Tensor ours = k.matmul(maps.down.narrow(0, 0, rank).t()).matmul(maps.up.narrow(1, 0, rank).t()).matmul(q.t());
    CHECK(max_relative_error(ours, cut(best, rank)) < 1e-7);
    CHECK(maps.energies[rank - 1].item<double>() == Approx(best.s[rank - 1].square().item<double>()).epsilon(1e-7));
    CHECK((scores - ours).norm().item<double>() < (scores - cut(of_keys, rank).matmul(q.t())).norm().item<double>());
  }
}

TEST_CASE("KQ-SVD adds up the queries that share a KV head", "[svd_family][oracle]") {
  const at::Tensor second = moment_of(24, 31);
  const Layer layer = rebuilt_layer(tiny_gqa(), second);
  const Spectrum spectrum = make_score_svd({})->factorize(layer.split, layer.stats);
  REQUIRE(spectrum.parts.size() == 4);  // 2 KV heads, keys then values
  const int64_t h = 8, rank = 3;
  const at::Tensor root = at::linalg_cholesky(second);  // stands for the tokens: x = root e, E[e e^T] = 1
  for (int64_t g = 0; g < 2; ++g) {
    const at::Tensor k = layer.split.k_free.narrow(0, g * h, h).matmul(root), q = layer.split.q_rope.narrow(0, g * 2 * h, 2 * h).matmul(root);
    const at::Tensor stacked = at::cat({k.t().matmul(q.narrow(0, 0, h)), k.t().matmul(q.narrow(0, h, h))}, 1);  // K [Q_1; Q_2]^T
    const at::Tensor cut_keys = rebuilt(layer, spectrum.parts[static_cast<std::size_t>(g)], rank, true).narrow(0, g * h, h).matmul(root);
    const at::Tensor ours = at::cat({cut_keys.t().matmul(q.narrow(0, 0, h)), cut_keys.t().matmul(q.narrow(0, h, h))}, 1);
    CHECK(max_relative_error(ours, cut(svd_of(stacked), rank)) < 1e-7);
  }
}

TEST_CASE("a Hadamard matrix is orthogonal at every size, and of equal entries at powers of two", "[svd_family]") {
  for (const int64_t n : {1, 2, 5, 6, 12, 64, 96}) {
    const at::Tensor m = hadamard_matrix(n);
    CHECK((m.matmul(m.t()) - at::eye(n, at::kDouble)).abs().max().item<double>() < kFp64);
  }
  CHECK(max_relative_error(hadamard_matrix(64).abs(), at::full({64, 64}, 0.125, at::kDouble)) < kFp64);
}

TEST_CASE("what a pair's rotation changes in the scores equals the difference that RoPE makes", "[svd_family][greedy]") {
  RowReservoir rows{tiny_inputs(2, 2 * 10, 2 * 8, 41).view({2, 20, 2, 8}), tiny_inputs(2, 20, 8, 42).view({2, 20, 1, 8})};
  const at::Tensor inv_freq = standard_inv_freq(100.0, 8);
  const RopeTable table = rope_table({inv_freq.unsqueeze(0)}, 0, 20, at::kCPU);
  const auto scores = [](const at::Tensor& q, const at::Tensor& k) { return at::einsum("nthd,nsd->nhts", {q, k.select(2, 0)}); };

  const at::Tensor changes = score_changes(rows, inv_freq, 0).sum(0).view({2, 2, -1});

  const at::Tensor expected = scores(rows.query, rows.key) - scores(apply_rope(rows.query, table), apply_rope(rows.key, table));
  const at::Tensor causal = at::ones({20, 20}, at::kBool).tril().flatten().nonzero().flatten();
  CHECK(max_relative_error(changes, expected.flatten(2).index_select(2, causal)) < kFp32Reordering);
}

TEST_CASE("the greedy search takes the best first pair, then the best beside it, by brute force", "[svd_family][greedy]") {
  const at::Tensor changes = tiny_inputs(1, 6, 300, 51)[0] * at::tensor({1.0, 4.0, 2.0, 0.5, 3.0, 1.5}).unsqueeze(1);
  const auto lost = [&](const std::vector<int64_t>& rotated) {
    at::Tensor rest = changes.clone();
    for (const int64_t pair : rotated) rest[pair].zero_();
    return rest.sum(0).abs().mean().item<double>();
  };

  const std::vector<int64_t> order = greedy_order(changes, 6);

  for (std::size_t taken = 0; taken < 3; ++taken) {
    std::vector<int64_t> chosen(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(taken + 1));
    for (int64_t other = 0; other < 6; ++other) {
      std::vector<int64_t> instead = chosen;
      instead.back() = other;
      if (std::find(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(taken), other) == order.begin() + static_cast<std::ptrdiff_t>(taken))
        CHECK(lost(chosen) <= lost(instead) + 1e-6);
    }
  }
  CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 6);
}

TEST_CASE("GTA's regression is the best map of rank n from values to keys, and Procrustes recovers a rotation", "[svd_family][oracle]") {
  const at::Tensor v = random(8, 100, 61), k = random(8, 8, 62).matmul(v) + 0.5 * random(8, 100, 63), second = at::eye(100, at::kDouble);
  const auto aligned = [&](const at::Tensor& keys, Alignment alignment, int64_t n) {
    return align_head(keys.matmul(keys.t()), keys.matmul(v.t()), v.matmul(v.t()), {.nope_dim = n, .alignment = alignment});
  };
  const auto lost = [&](const at::Tensor& keys, const AlignedHead& head) {
    return (keys - head.back.matmul(head.rotation.narrow(0, 0, head.back.size(1))).matmul(v)).square().sum().item<double>();
  };
  // Reduced-rank regression: the projection of the fitted keys on their n leading directions.
  const at::Tensor fitted = k.matmul(v.t()).matmul(at::linalg_inv(v.matmul(v.t()))).matmul(v);
  const double best = (k - cut(svd_of(fitted), 4)).square().sum().item<double>();

  CHECK(lost(k, aligned(k, Alignment::regression, 4)) == Approx(best).epsilon(1e-8));
  CHECK(lost(k, aligned(k, Alignment::procrustes, 4)) >= best);
  const at::Tensor turned = 3 * std::get<0>(at::linalg_qr(random(8, 8, 64))).matmul(v);
  CHECK(lost(turned, aligned(turned, Alignment::procrustes, 8)) < 1e-15 * turned.square().sum().item<double>());
}

TEST_CASE("a latent in two blocks never keeps more energy than a joint one of the same size", "[svd_family]") {
  const Layer layer = rebuilt_layer(tiny_gqa(), moment_of(24, 71));
  const Spectrum joint = make_weighted_svd({.parts = SvdParts::joint})->factorize(layer.split, layer.stats);
  const Spectrum blocks = make_weighted_svd({.parts = SvdParts::joint, .heads_per_part = 1})->factorize(layer.split, layer.stats);
  const auto kept = [](const Spectrum& spectrum, int64_t rank) {
    double sum = 0;
    for (const SpectrumPart& part : spectrum.parts) sum += part.energies.narrow(0, 0, rank).sum().item<double>();
    return sum;
  };
  REQUIRE(blocks.parts.size() == 2);
  for (int64_t half = 1; half <= 8; ++half) CHECK(kept(blocks, half) <= kept(joint, 2 * half) * (1 + 1e-12));
}

TEST_CASE("X-EcoMLA's dynamic rank counts directions within the energy and rounds up", "[svd_family]") {
  Spectrum spectrum;
  const at::Tensor energies = at::tensor({50.0, 30.0, 10.0, 5.0, 3.0, 2.0}, at::kDouble);
  spectrum.parts.push_back({at::zeros({6, 3}, at::kDouble), at::zeros({4, 6}, at::kDouble), energies});
  CHECK(make_energy_count(0.9, 1)->allocate({spectrum}, {})[0] == LayerRanks{3});
  CHECK(make_energy_count(0.9, 4)->allocate({spectrum}, {})[0] == LayerRanks{4});
  CHECK(make_energy_count(0.1, 1)->allocate({spectrum}, {})[0] == LayerRanks{1});
  CHECK(make_energy_count(1.0, 8)->allocate({spectrum}, {})[0] == LayerRanks{6});  // no more than there are
  CHECK(make_uniform(4, "--cache-values", true)->allocate({spectrum}, {})[0] == LayerRanks{4});
  CHECK(make_uniform(9, "--cache-values", true)->allocate({spectrum}, {})[0] == LayerRanks{6});
}
