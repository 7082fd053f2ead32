#include "core/cuda/cache_append.h"

#include "core/cuda/typed_values.h"
#include "tests/cuda/backends.h"

using namespace mla;
using namespace mla::gpu;
using mla::test::Bytes;
using mla::test::OnCard;

namespace {

struct AppendCase {
  const char* name;
  Type type;
  CacheKind plain_kind, rotated_kind;
  int32_t width, groups, dim, heads;
  int32_t tokens = 5, rope_heads = 1, quant_group = 64;
};

constexpr int32_t kBatch = 3, kMaxPages = 3, kPages = 7;
constexpr double kRotationError = 2e-7;  // relative to the largest value, of three fp32 roundings

std::vector<AppendCase> cases() {
  std::vector<AppendCase> all;
  for (const Type type : {Type::fp32, Type::fp16, Type::bf16}) {
    const auto own = static_cast<CacheKind>(type);
    all.push_back({"latent and rope key", type, own, own, 48, 1, 16, 4});
    all.push_back({"odd latent, no rope", type, own, own, 33, 0, 0, 0});
    all.push_back({"grouped keys and values", type, own, own, 2 * 24, 2, 24, 6});
    all.push_back({"a rope head per group", type, own, own, 20, 2, 10, 4, 3, 2});
    all.push_back({"no token", type, own, own, 48, 1, 16, 4, 0});
    for (const CacheKind kind : {CacheKind::int8, CacheKind::int4}) {
      all.push_back({"quantised latent", type, kind, own, 130, 1, 16, 2});
      all.push_back({"quantised odd widths", type, kind, kind, 37, 1, 18, 2, 4, 1, 8});
      all.push_back({"quantised keys and values", type, kind, kind, 64, 2, 32, 4, 6, 1, 16});
    }
  }
  return all;
}

// Memory of one append, all of it bytes.
struct Arrays {
  Bytes plain, rotated, queries, plain_rows, plain_affine, rotated_rows, rotated_affine, cos, sin;
  std::vector<int32_t> sequence, position, table, faults;
};

Bytes drawn(test::Draw& draw, Type type, int64_t count) {
  Bytes bytes(static_cast<std::size_t>(count * bytes_of(type)));
  for (int64_t i = 0; i < count; ++i) set_value(type, bytes.data(), i, i % 50 == 0 ? 0.25 : draw.uniform(-2, 3));
  return bytes;
}

Arrays arrays(const AppendCase& c, uint64_t seed) {
  test::Draw draw(seed);
  Arrays a;
  a.plain = drawn(draw, c.type, int64_t{c.tokens} * c.width);
  a.rotated = drawn(draw, c.type, int64_t{c.tokens} * c.groups * c.dim);
  a.queries = drawn(draw, c.type, int64_t{c.tokens} * c.heads * c.dim);
  const auto room = [&](CacheKind kind, int64_t groups, int64_t width) { return Bytes(static_cast<std::size_t>(kPages * 64 * groups * row_bytes(kind, (width + 1) / 2 * 2))); };
  const auto pairs = [&](int64_t groups, int64_t width) { return Bytes(static_cast<std::size_t>(kPages * 64 * groups * ((width + c.quant_group - 1) / c.quant_group) * 4)); };
  a.plain_rows = room(c.plain_kind, 1, c.width), a.plain_affine = pairs(1, c.width);
  a.rotated_rows = room(c.rotated_kind, c.groups, c.dim), a.rotated_affine = pairs(c.groups, c.dim);
  a.cos = drawn(draw, Type::fp32, 64 * kMaxPages * c.rope_heads * c.dim / 2);
  a.sin = drawn(draw, Type::fp32, 64 * kMaxPages * c.rope_heads * c.dim / 2);
  a.table = {5, 0, -1, 3, 6, 1, 2, -1, -1};
  for (int32_t i = 0; i < c.tokens; ++i) {
    a.sequence.push_back(i % kBatch);
    a.position.push_back(i % kBatch == 2 ? i : 62 + i);
  }
  a.faults = {0};
  return a;
}

template <class Get>  // data of an array of Arrays
CacheAppendArgs args_of(const AppendCase& c, const Get& get) {
  CacheAppendArgs a;
  a.type = c.type, a.tokens = c.tokens, a.width = c.width, a.groups = c.groups, a.dim = c.dim, a.heads = c.heads, a.rope_heads = c.rope_heads, a.quant_group = c.quant_group;
  a.plain = get(&Arrays::plain), a.rotated = get(&Arrays::rotated), a.queries = get(&Arrays::queries);
  a.plain_stride = c.width, a.rotated_stride = c.groups * c.dim, a.query_stride = c.heads * c.dim, a.query_head = c.dim;
  a.cos = static_cast<const float*>(get(&Arrays::cos)), a.sin = static_cast<const float*>(get(&Arrays::sin)), a.positions_held = 64 * kMaxPages;
  const auto target = [&](CacheKind kind, int64_t groups, int64_t width, void* data, void* affine) {
    const int64_t padded = (width + 1) / 2 * 2, pairs = (width + c.quant_group - 1) / c.quant_group * 2;
    return PagedTarget{kind, data, 64 * groups * padded, groups * padded, padded, affine, 64 * groups * pairs, groups * pairs, pairs};
  };
  a.plain_rows = target(c.plain_kind, 1, c.width, get(&Arrays::plain_rows), get(&Arrays::plain_affine));
  a.rotated_rows = target(c.rotated_kind, c.groups, c.dim, get(&Arrays::rotated_rows), get(&Arrays::rotated_affine));
  a.page_table_stride = a.max_pages = kMaxPages, a.batch = kBatch, a.page_count = kPages;
  return a;
}

// What an append leaves: the caches, the queries, the faults.
Arrays run(const Operators& operators, const AppendCase& c, const Arrays& in) {
  std::vector<std::pair<Bytes Arrays::*, OnCard<unsigned char>>> card;
  for (Bytes Arrays::*member : {&Arrays::plain, &Arrays::rotated, &Arrays::queries, &Arrays::plain_rows, &Arrays::plain_affine, &Arrays::rotated_rows, &Arrays::rotated_affine, &Arrays::cos, &Arrays::sin})
    card.emplace_back(member, OnCard<unsigned char>(operators, in.*member));
  const OnCard<int32_t> sequence(operators, in.sequence), position(operators, in.position), table(operators, in.table), faults(operators, in.faults);
  CacheAppendArgs a = args_of(c, [&](Bytes Arrays::*member) -> void* {
    for (const auto& [name, memory] : card)
      if (name == member) return memory.data();
    return nullptr;
  });
  a.sequence = sequence.data(), a.position = position.data(), a.page_table = table.data(), a.faults = faults.data();
  operators.cache_append(a, nullptr);
  operators.synchronize();
  Arrays out = in;
  for (const auto& [name, memory] : card) out.*name = memory.read();
  out.faults = faults.read();
  return out;
}

Arrays expected(const AppendCase& c, Arrays a) {
  CacheAppendArgs args = args_of(c, [&](Bytes Arrays::*member) -> void* { return (a.*member).data(); });
  args.sequence = a.sequence.data(), args.position = a.position.data(), args.page_table = a.table.data(), args.faults = a.faults.data();
  reference::cache_append(args);
  return a;
}

std::vector<double> values(Type type, const Bytes& bytes) {
  std::vector<double> out;
  for (std::size_t i = 0; i < bytes.size() / static_cast<std::size_t>(bytes_of(type)); ++i) out.push_back(value_at(type, bytes.data(), static_cast<int64_t>(i)));
  return out;
}

double step(Type type) { return type == Type::fp32 ? kRotationError : type == Type::fp16 ? std::ldexp(1.0, -10) : std::ldexp(1.0, -7); }  // one unit in the last place

void check_case(const Operators& operators, const AppendCase& c) {
  INFO(c.name << ", dtype " << static_cast<int>(c.type) << ", caches " << static_cast<int>(c.plain_kind) << " and " << static_cast<int>(c.rotated_kind));
  const Arrays in = arrays(c, 6), got = run(operators, c, in), wanted = expected(c, in);
  CHECK(got.plain_rows == wanted.plain_rows);  // equal bits, codes included
  CHECK(got.plain_affine == wanted.plain_affine);
  CHECK(test::relative_error(values(c.type, got.queries), values(c.type, wanted.queries)) <= step(c.type));
  if (!is_quantised(c.rotated_kind)) CHECK(test::relative_error(values(c.type, got.rotated_rows), values(c.type, wanted.rotated_rows)) <= step(c.type));
  else {
    int far = 0;  // rotation may round otherwise, and move a code by one
    for (std::size_t i = 0; i < got.rotated_rows.size(); ++i) {
      const int a = got.rotated_rows[i], b = wanted.rotated_rows[i];
      far += c.rotated_kind == CacheKind::int8 ? std::abs(a - b) > 1 : std::abs(a % 16 - b % 16) > 1 || std::abs(a / 16 - b / 16) > 1;
    }
    CHECK(far == 0);
  }
  CHECK(got.faults == std::vector<int32_t>{0});
  if (c.tokens > 0 && c.width > 0) CHECK(got.plain_rows != in.plain_rows);
}

void check_faults(const Operators& operators) {
  const AppendCase c{"", Type::bf16, CacheKind::bf16, CacheKind::bf16, 16, 1, 8, 2, 6};
  Arrays in = arrays(c, 2);
  in.sequence = {0, 3, -1, 0, 2, 1};
  in.position = {64, 0, 0, 192, 70, 5};  // a good one; no such sequence; no such sequence; beyond the table; no page; a good one
  const Arrays got = run(operators, c, in), wanted = expected(c, in);
  CHECK(got.faults == std::vector<int32_t>{4});
  CHECK(wanted.faults == got.faults);
  CHECK(got.plain_rows == wanted.plain_rows);
  const std::vector<double> queries = values(c.type, got.queries);
  for (std::size_t i = 0; i < queries.size(); ++i) CHECK(std::isnan(queries[i]) == (i / 16 >= 1 && i / 16 <= 4));
}

}  // namespace

TEST_CASE("appended rows equal the reference's, emulated", "[cuda][cache_append]") {
  for (const AppendCase& c : cases()) check_case(test::emulated(), c);
}

TEST_CASE("appended rows equal the reference's on the card", "[cuda][cache_append][card]") {
  if (test::no_card()) return;
  for (const AppendCase& c : cases()) check_case(test::card_operators(), c);
}

TEST_CASE("tokens that the page table does not hold are counted and written nowhere, emulated", "[cuda][cache_append][errors]") { check_faults(test::emulated()); }

TEST_CASE("tokens that the page table does not hold are counted and written nowhere on the card", "[cuda][cache_append][errors][card]") {
  if (test::no_card()) return;
  check_faults(test::card_operators());
}

TEST_CASE("a scale beyond fp16 counts as a fault", "[cuda][cache_append][errors]") {
  const AppendCase c{"", Type::fp32, CacheKind::int8, CacheKind::fp32, 8, 0, 0, 0, 1};
  Arrays in = arrays(c, 2);
  set_value(Type::fp32, in.plain.data(), 3, 1e9);
  CHECK(run(test::emulated(), c, in).faults == std::vector<int32_t>{1});
  CHECK(expected(c, in).faults == std::vector<int32_t>{1});
}

TEST_CASE("an append whose rows and targets do not fit is refused", "[cuda][cache_append][errors]") {
  const AppendCase c{"", Type::bf16, CacheKind::bf16, CacheKind::bf16, 16, 1, 8, 2};
  Arrays a = arrays(c, 2);
  CacheAppendArgs good = args_of(c, [&](Bytes Arrays::*member) -> void* { return (a.*member).data(); });
  good.sequence = a.sequence.data(), good.position = a.position.data(), good.page_table = a.table.data();
  REQUIRE_NOTHROW(check_cache_append(good));
  const auto refused = [&](const auto& change) {
    CacheAppendArgs bad = good;
    change(bad);
    CHECK_THROWS_AS(check_cache_append(bad), ShapeError);
  };
  refused([](CacheAppendArgs& x) { x.dim = 7; });
  refused([](CacheAppendArgs& x) { x.width = 9000; });
  refused([](CacheAppendArgs& x) { x.plain_rows.kind = CacheKind::fp16; });
  refused([](CacheAppendArgs& x) { x.plain_rows.kind = CacheKind::int8, x.plain_rows.affine = nullptr; });
  refused([](CacheAppendArgs& x) { x.plain_rows.kind = CacheKind::int8, x.quant_group = 3; });
  refused([](CacheAppendArgs& x) { x.rope_heads = 3; });
  refused([](CacheAppendArgs& x) { x.cos = nullptr; });
  refused([](CacheAppendArgs& x) { x.page_table_stride = 1; });
}
