// Times decode over a paged cache on a card: bench_cuda [--heads H] [--rank R] [--rope D] [--batch B] [--context T] [--kind bf16|int8|int4] [--gqa G]
//   [--kernel fitting|wgmma]
// Prints microseconds, bytes of cache read per second and their share of the card's copy bandwidth, measured beside it, and TFLOP/s.
// Rows of the cache are zeros; times do not depend on them.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>

#include "core/base/error.h"
#include "core/cuda/paged_cache.h"
#include "core/cuda/plug.h"

using namespace mla;
using namespace mla::gpu;

namespace {

struct Numbers {
  int32_t heads = 128, rank = 512, rope = 64, batch = 128, context = 8192, groups = 0;  // groups 0: absorbed MLA
  std::string kind = "bf16", kernel;  // kernel: else that of MLAFORGE_DECODE_KERNEL
};

Numbers read(int count, char** texts) {
  Numbers n;
  const std::map<std::string, int32_t*> named{{"--heads", &n.heads}, {"--rank", &n.rank}, {"--rope", &n.rope}, {"--batch", &n.batch}, {"--context", &n.context}, {"--gqa", &n.groups}};
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(texts[i], "--kind") == 0) n.kind = texts[i + 1];
    else if (std::strcmp(texts[i], "--kernel") == 0) n.kernel = texts[i + 1];
    else if (const auto found = named.find(texts[i]); found != named.end()) *found->second = std::atoi(texts[i + 1]);
    else fail<UsageError>("bench_cuda", "wanted --heads, --rank, --rope, --batch, --context, --gqa, --kind or --kernel, got ", texts[i]);
  }
  if (count % 2 == 0) fail<UsageError>("bench_cuda", "wanted a value after ", texts[count - 1]);
  return n;
}

// Seconds of one call, the least of five rounds.
template <class F>
double seconds(const Operators& operators, int calls, const F& call) {
  double best = 1e9;
  call();
  operators.synchronize();
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    operators.synchronize();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls);
  }
  return best;
}

double copy_bandwidth(const Operators& operators) {
  constexpr std::size_t kBytes = std::size_t{2} << 30;
  const CardMemory from(operators.table(), kBytes), to(operators.table(), kBytes);
  return 2.0 * kBytes / seconds(operators, 10, [&] { operators.table().copy(to.data(), from.data(), kBytes, nullptr); });
}

CardMemory zeros(const CudaTable& table, int64_t bytes) {
  CardMemory memory(table, static_cast<std::size_t>(bytes));
  memory.write(std::vector<unsigned char>(static_cast<std::size_t>(bytes)).data());
  return memory;
}

int run(int count, char** texts) {
  const Numbers n = read(count, texts);
  const CudaTable& table = open_module();
  const Card card = open_card(table);
  const Operators operators(table);
  DecodeArgs a;
  a.shape = {.batch = n.batch, .heads = n.heads, .groups = std::max(1, n.groups), .key_dim = n.rank, .rope_dim = n.groups > 0 ? 0 : n.rope, .value_dim = n.rank, .values_are_keys = n.groups == 0};
  if (n.kind != "bf16") a.shape.kind = n.kind == "int8" ? CacheKind::int8 : CacheKind::int4;
  const DecodeShape& s = a.shape;
  const std::vector<int32_t> lengths(static_cast<std::size_t>(n.batch), n.context);
  CardLimits limits = limits_of(card);
  if (!n.kernel.empty()) limits.kernel = decode_kernel_named(n.kernel);
  a.plan = plan_decode(s, lengths, 0, limits);
  const int32_t pages_each = static_cast<int32_t>((n.context + kPageTokens - 1) / kPageTokens);
  PagedCachePlan pages(n.batch, n.batch * pages_each, pages_each);
  pages.append_all(n.context);

  const bool latent = n.groups == 0, codes = is_quantised(s.kind);
  const int64_t rows = int64_t{n.batch} * pages_each * kPageTokens, quant_groups = (s.key_dim + s.quant_group - 1) / s.quant_group;
  const int64_t key_values = latent ? s.key_dim + (codes ? 0 : s.rope_dim) : int64_t{s.groups} * s.key_dim;  // of a row of the first array
  const CardMemory keys = zeros(table, rows * row_bytes(s.kind, key_values)), values = zeros(table, latent ? 16 : rows * 2 * s.groups * s.value_dim);
  const CardMemory rope = zeros(table, codes ? rows * 2 * s.rope_dim : 16), affine = zeros(table, codes ? rows * quant_groups * 4 : 16);
  const CardMemory q = zeros(table, int64_t{2} * n.batch * n.heads * s.key_dim), q_rope = zeros(table, int64_t{2} * n.batch * n.heads * std::max(8, s.rope_dim));
  const CardMemory out = zeros(table, int64_t{2} * n.batch * n.heads * s.value_dim), workspace = zeros(table, a.plan.workspace_bytes);
  CardMemory page_table = zeros(table, static_cast<int64_t>(pages.page_table().size()) * 4), ends = zeros(table, int64_t{4} * n.batch);
  page_table.write(pages.page_table().data());
  ends.write(lengths.data());
  a.q = q.data(), a.q_rope = q_rope.data(), a.q_batch = int64_t{n.heads} * s.key_dim, a.q_head = s.key_dim, a.q_rope_batch = int64_t{n.heads} * s.rope_dim, a.q_rope_head = s.rope_dim;
  a.key = {keys.data(), kPageTokens * key_values, key_values, latent ? 0 : s.key_dim};
  a.value = {values.data(), kPageTokens * s.groups * s.value_dim, int64_t{s.groups} * s.value_dim, s.value_dim};
  a.rope = codes ? PagedRows{rope.data(), kPageTokens * s.rope_dim, s.rope_dim, 0} : PagedRows{static_cast<unsigned char*>(keys.data()) + 2 * s.key_dim, kPageTokens * key_values, key_values, 0};
  a.affine = {affine.data(), kPageTokens * quant_groups * 2, quant_groups * 2, 0};
  a.scale = 0.1f;
  a.page_table = static_cast<const int32_t*>(page_table.data()), a.lengths = static_cast<const int32_t*>(ends.data());
  a.page_table_stride = a.max_pages = pages_each, a.page_count = n.batch * pages_each;
  a.out = out.data(), a.out_batch = int64_t{n.heads} * s.value_dim, a.out_head = s.value_dim, a.workspace = workspace.data();

  const double time = seconds(operators, 20, [&] { operators.decode(a, nullptr); }), copy = copy_bandwidth(operators);
  const double bytes = static_cast<double>(int64_t{n.batch} * n.context) *
                       (static_cast<double>(row_bytes(s.kind, key_values)) + (latent ? (codes ? 2.0 * s.rope_dim + 4.0 * static_cast<double>(quant_groups) : 0) : 2.0 * s.groups * s.value_dim));
  const double flops = 2.0 * n.batch * n.heads * static_cast<double>(n.context) * (s.key_dim + s.rope_dim + s.value_dim);
  std::printf("%s\n%s, rows %d, stages %d, splits %d of %d pages, shared memory %lld bytes\n", describe(card).c_str(), a.plan.kernel == DecodeKernel::wgmma ? "wgmma" : a.plan.rows > 0 ? "mma" : "plain", a.plan.rows, a.plan.stages, a.plan.max_splits, a.plan.pages_per_split,
              static_cast<long long>(a.plan.shared_bytes));
  std::printf("decode %.1f us   %.0f GB/s of cache, %.1f %% of %.0f GB/s copied   %.1f TFLOP/s\n", time * 1e6, bytes / time / 1e9, 100 * bytes / time / copy, copy / 1e9, flops / time / 1e12);
  return 0;
}

}  // namespace

int main(int count, char** texts) {
  try {
    return run(count, texts);
  } catch (const UsageError& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 4;
  }
}
