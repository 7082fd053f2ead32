#include "core/cuda/kernels/fragments.h"

#include <set>

#include "core/cuda/kernels/decode_layout.h"
#include "tests/support/catch.h"

using namespace mla::gpu;

namespace {
int place(Element e, int columns) { return e.row * columns + e.column; }
}  // namespace

TEST_CASE("each register of a fragment of m16n8k16 is another element, and all elements are there", "[cuda][fragments]") {
  std::set<int> a, b, c;
  for (int lane = 0; lane < 32; ++lane) {
    for (int index = 0; index < 4; ++index) {
      for (int half = 0; half < 2; ++half) a.insert(place(a_element(lane, index, half), 16));
      c.insert(place(c_element(lane, index), 8));
    }
    for (int index = 0; index < 2; ++index)
      for (int half = 0; half < 2; ++half) b.insert(place(b_element(lane, index, half), 8));
  }
  CHECK(a.size() == 256);
  CHECK(b.size() == 128);
  CHECK(c.size() == 128);
  CHECK(*a.rbegin() == 255);
  CHECK(*b.rbegin() == 127);
  CHECK(*c.rbegin() == 127);
}

// "groupID = %laneid >> 2, threadID_in_group = %laneid % 4", and for element i of the fragment:
//   A, i in 0..7: row = groupID for i in {0,1,4,5}, else groupID + 8; col = threadID_in_group * 2 + (i & 1), + 8 for i >= 4
//   B, i in 0..3: row = threadID_in_group * 2 + (i & 1), + 8 for i >= 2; col = groupID
//   C, i in 0..3: row = groupID for i < 2, else groupID + 8; col = threadID_in_group * 2 + (i & 1)
TEST_CASE("fragments lie as the PTX manual says", "[cuda][fragments]") {
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const Element e = a_element(lane, i / 2, i % 2);
      CHECK(e.row == ((i == 0 || i == 1 || i == 4 || i == 5) ? group : group + 8));
      CHECK(e.column == in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0));
    }
    for (int i = 0; i < 4; ++i) {
      CHECK(b_element(lane, i / 2, i % 2).row == in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0));
      CHECK(b_element(lane, i / 2, i % 2).column == group);
      CHECK(c_element(lane, i).row == (i < 2 ? group : group + 8));
      CHECK(c_element(lane, i).column == in_group * 2 + (i & 1));
    }
  }
}

TEST_CASE("two score tiles' C fragments are the A fragment of the product that follows", "[cuda][fragments]") {
  for (int lane = 0; lane < 32; ++lane)
    for (int index = 0; index < 4; ++index)
      for (int half = 0; half < 2; ++half) {
        const Element wanted = a_element(lane, index, half), got = c_element(lane, index % 2 * 2 + half);  // of tile index / 2
        CHECK(wanted.row == got.row);
        CHECK(wanted.column == got.column + index / 2 * 8);
      }
}

TEST_CASE("a swizzled tile holds every chunk once, and eight rows' equal chunks lie in different banks", "[cuda][fragments]") {
  for (int values : {16, 64, 80, 128, 192, 512, 576}) {
    const int pitch = tile_pitch(values);
    CHECK(pitch * kChunk >= values);
    std::set<int> places;
    for (int row = 0; row < 64; ++row)
      for (int chunk = 0; chunk < pitch; ++chunk) places.insert(swizzled(row, chunk, pitch));
    CHECK(static_cast<int>(places.size()) == 64 * pitch);
    CHECK(*places.rbegin() == 64 * pitch - 1);
    for (int first = 0; first < 64; first += 8)
      for (int chunk = 0; chunk < pitch; ++chunk) {
        std::set<int> banks;
        for (int row = first; row < first + 8; ++row) banks.insert(swizzled(row, chunk, pitch) % 8);
        CHECK(banks.size() == 8);
      }
  }
}

TEST_CASE("products stand for divisions of small numbers", "[cuda][fragments]") {
  bool equal = true;
  for (uint32_t divisor = 1; divisor <= 512; ++divisor)
    for (uint32_t n = 0; n < 128; ++n) equal = equal && quotient(n, inverse_of(divisor)) == n / divisor;
  CHECK(equal);
}

namespace {
// Each of the eight warps makes and finishes other tiles of the scores.
template <int kRows>
void check_grid() {
  using Grid = ScoreGrid<kRows>;
  std::multiset<int> multiplied;
  std::set<int> finished, partials;
  for (int warp = 0; warp < kDecodeWarps; ++warp) {
    for (int j = 0; j < Grid::key_tiles; ++j) multiplied.insert(Grid::row_tile(warp) * kKeyTiles + Grid::first_tile(warp) + j);
    for (int j = 0; j < Grid::own_tiles; ++j) finished.insert(Grid::row_tile(warp) * kKeyTiles + Grid::first_own(warp) + j);
    partials.insert(Grid::row_tile(warp) * Grid::maxima + Grid::partial(warp));
  }
  const int tiles = Grid::row_tiles * kKeyTiles;
  CHECK(static_cast<int>(multiplied.size()) == tiles * Grid::dim_parts);
  for (int tile = 0; tile < tiles; ++tile) CHECK(static_cast<int>(multiplied.count(tile)) == Grid::dim_parts);
  CHECK(static_cast<int>(finished.size()) == tiles);
  CHECK(static_cast<int>(partials.size()) == kDecodeWarps);
  CHECK(Grid::maxima * Grid::row_tiles == kDecodeWarps);
}
}  // namespace

TEST_CASE("warps divide a page's scores without gap or overlap", "[cuda][fragments]") {
  check_grid<16>();
  check_grid<32>();
  check_grid<64>();
}

TEST_CASE("regions of shared memory follow one another at their alignment", "[cuda][fragments]") {
  for (CacheKind kind : {CacheKind::bf16, CacheKind::int8, CacheKind::int4})
    for (int rows : {16, 32, 64})
      for (int rank : {16, 48, 128, 512}) {
        DecodeShape shape{.batch = 1, .heads = 16, .groups = 1, .key_dim = rank, .rope_dim = 64, .value_dim = rank, .kind = kind};
        const DecodeLayout at = decode_layout(shape, rows, 2);
        CHECK(at.stages <= at.tiles);
        CHECK(at.tiles - at.stages == 2 * at.stage);
        CHECK(at.queries - at.tiles == (kind == CacheKind::bf16 ? 0 : at.key_tile));
        CHECK(at.stage % 128 == 0);
        CHECK(at.tiles % 128 == 0);
        CHECK(at.queries % 16 == 0);
        CHECK(at.scores % 16 == 0);
        CHECK(at.key_tile >= 64 * (rank + 64) * 2);
        CHECK(at.total - at.factors == rows * 4);
      }
}
