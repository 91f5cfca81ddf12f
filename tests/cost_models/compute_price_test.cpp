// What work on the TensorCore costs: a roofline on padded shapes.
#include <array>
#include <catch2/catch.hpp>
#include <numeric>
#include <random>
#include <set>

#include "cost_models/price.hpp"
#include "cost_models/tile_quantisation.hpp"
#include "tests/cost_models/toy_machine.hpp"
#include "tests/golden.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Compute matmul(Matmul product, Bytes bytes) {
  Compute work;
  work.kind = OpKind::matmul;
  work.matmuls = {product};
  work.hbm_bytes = bytes;
  return work;
}

// Group by group, which tiles it touches.
std::int64_t visits(const std::vector<std::int64_t>& sizes, std::int64_t tile) {
  std::int64_t start = 0;
  std::int64_t all = 0;
  for (const std::int64_t size : sizes) {
    std::set<std::int64_t> tiles;
    for (std::int64_t row = start; row < start + size; ++row) tiles.insert(row / tile);
    all += static_cast<std::int64_t>(tiles.size());
    start += size;
  }
  return all;
}

}  // namespace

TEST_CASE("a product runs at the roofline: below, at and above the ridge", "[cost_models]") {
  // [8, 128] x [128, 128]: 2 x 8 x 128 x 128 = 262,144 FLOPs, 262,144 ps at 1 FLOP/ps. The ridge of
  // this machine is 1 FLOP per byte.
  const Matmul product{1, 8, 128, 128};
  const std::int64_t flops = 2 * 8 * 128 * 128;
  const Machine machine = toy_machine();
  const Price above = price(matmul(product, Bytes(flops / 2)), machine);
  CHECK(above.duration == Picoseconds(flops));
  CHECK(above.bound == Bound::compute);
  CHECK(above.use(tensor_core) == 1.0);
  CHECK(above.use(hbm) == 0.5);
  const Price at = price(matmul(product, Bytes(flops)), machine);
  CHECK(at.duration == Picoseconds(flops));
  CHECK(at.use(tensor_core) == 1.0);
  CHECK(at.use(hbm) == 1.0);
  const Price below = price(matmul(product, Bytes(4 * flops)), machine);
  CHECK(below.duration == Picoseconds(4 * flops));
  CHECK(below.bound == Bound::memory);
  CHECK(below.use(tensor_core) == 0.25);
  CHECK(below.use(hbm) == 1.0);
  CHECK(below.latency == Picoseconds(0));
}

TEST_CASE("shapes are padded to the MXU and its sublanes", "[cost_models]") {
  CHECK(padded_flops({1, 8, 128, 128}, 128) == 2.0 * 8 * 128 * 128);
  CHECK(padded_flops({1, 9, 128, 128}, 128) == 2.0 * 16 * 128 * 128);     // rows to 8
  CHECK(padded_flops({1, 8, 129, 128}, 128) == 2.0 * 8 * 256 * 128);      // depth to 128
  CHECK(padded_flops({1, 8, 128, 1}, 128) == 2.0 * 8 * 128 * 128);        // columns to 128
  CHECK(padded_flops({3, 8, 128, 128}, 256) == 3 * 2.0 * 8 * 256 * 256);  // a larger MXU
  CHECK(padded_flops({7, 4096, 4096, 2048}, 128) == 7 * 2.0 * 4096 * 4096 * 2048);  // nothing
}

TEST_CASE("padding never shrinks work and less than one tile is added", "[cost_models]") {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const auto any = [&] { return std::int64_t{1} + static_cast<std::int64_t>(random() % 5000); };
    const Matmul p{any(), any(), any(), any()};
    const double padded = padded_flops(p, 128);
    CHECK(padded >= 2.0 * static_cast<double>(p.count * p.m * p.k * p.n));
    CHECK(padded < 2.0 * static_cast<double>(p.count * (p.m + 8) * (p.k + 128) * (p.n + 128)));
  }
}

TEST_CASE("tiles of a grouped product: the oracle of this file meets golden counts",
          "[cost_models]") {
  const auto file = golden("gmm_tile_counts.json");
  REQUIRE(!file.at("cases").empty());
  for (const auto& one : file.at("cases")) {
    INFO(one.at("name"));
    const auto sizes =
        one.at("inputs").at("group_sizes").at("data").get<std::vector<std::int64_t>>();
    CHECK(visits(sizes, one.at("config").at("tile_m").get<std::int64_t>()) ==
          one.at("expected").at("total_tiles").at("data").at(0).get<std::int64_t>());
  }
}

// Sizes of `groups` groups of `rows` rows, each row's group drawn alike.
std::vector<std::int64_t> drawn_sizes(std::int64_t rows, std::int64_t groups,
                                      std::mt19937& random) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(groups));
  for (std::int64_t row = 0; row < rows; ++row) ++sizes[random() % sizes.size()];
  return sizes;
}

TEST_CASE("groups are tiled as those that a router draws are on average", "[cost_models]") {
  std::mt19937 random(1);
  for (const auto& [rows, groups, tile] : {std::array<std::int64_t, 3>{24'576, 32, 512},
                                           {32'768, 128, 512},
                                           {65'536, 64, 256},
                                           {8'192, 16, 128}}) {
    INFO(rows << " rows, " << groups << " groups, tiles of " << tile);
    const auto most = static_cast<double>(tiled_rows(rows, groups, tile) / tile);
    double sum = 0;
    constexpr int draws = 50;
    for (int i = 0; i < draws; ++i)
      sum += static_cast<double>(visits(drawn_sizes(rows, groups, random), tile));
    // A boundary falls on a tile's once in `tile` times.
    CHECK(sum / draws == Approx(most).epsilon(2.0 / static_cast<double>(tile)));
    CHECK(sum / draws <= most);
  }
  CHECK(tiled_rows(0, 8, 512) == 0);
  CHECK(tiled_rows(1, 8, 512) == 512);      // seven groups are empty
  CHECK(tiled_rows(3, 8, 512) == 3 * 512);  // so are five
  CHECK(tiled_rows(1024, 1, 512) == 1024);
}

TEST_CASE("a grouped product costs its visited tiles", "[cost_models]") {
  // 768 rows are 1.5 tiles of 512; the second tile holds the boundary, or the first does.
  Compute work = matmul({1, 768, 128, 128}, Bytes(0));
  work.kind = OpKind::grouped_matmul;
  work.groups = 2;
  work.tile = {512, 128, 128};
  CHECK(price(work, toy_machine()).duration == Picoseconds(3 * 512 * 2 * 128 * 128));
  // Fewer rows than a tile: the tile is as high as the rows.
  work.matmuls[0].m = 256;
  CHECK(price(work, toy_machine()).duration == Picoseconds(2 * 256 * 2 * 128 * 128));
}

TEST_CASE("infinite rates cost nothing, and halves twice as much", "[cost_models]") {
  const Compute work = matmul({1, 8, 128, 128}, Bytes(1000));
  Machine machine = toy_machine();
  machine.matmul = FlopsPerSecond(infinite);
  CHECK(price(work, machine).duration == Picoseconds(1000));
  CHECK(price(work, machine).bound == Bound::memory);
  machine.hbm = BytesPerSecond(infinite);
  CHECK(price(work, machine).duration == Picoseconds(0));
  CHECK(price(work, machine).use(hbm) == 0);
  machine = toy_machine();
  machine.matmul = FlopsPerSecond(0.5e12);
  CHECK(price(work, machine).duration == Picoseconds(2 * 262'144));
}

namespace {

double sum(const CoreTimes& core) { return std::accumulate(core.begin(), core.end(), 0.0); }

}  // namespace

TEST_CASE("a kernel's products, softmax and grid steps follow each other", "[cost_models]") {
  // 3 blocks of 8 x 128 logits: products of 2 x 8 x 128 x 128 FLOPs each, half of them visible.
  Compute work = matmul({3, 8, 128, 128}, Bytes(0));
  work.kind = OpKind::attention;
  work.model_flops = FlopCount(3 * 131'072);
  work.scores = 3 * 8 * 128;
  work.grid_steps = 3;
  Machine machine = toy_machine();
  machine.matmul = FlopsPerSecond(0.5e12);  // half of the peak
  machine.softmax_ops = 10;
  machine.vector_rate = 2e12;
  machine.grid_step = Picoseconds(7);
  const Price alone = price(work, machine);
  CHECK(alone.core[ideal] == Approx(3 * 131'072));         // at 1 FLOP/ps
  CHECK(alone.core[inefficiency] == Approx(3 * 131'072));  // the same again at 0.5
  CHECK(alone.core[tile_waste] == Approx(2 * 3 * 131'072));
  CHECK(alone.core[softmax] == Approx(3 * 8 * 128 * 10 / 2));
  CHECK(alone.core[grid_steps] == Approx(21));
  CHECK(static_cast<double>(alone.duration.value()) == Approx(sum(alone.core)));
  CHECK(alone.bound == Bound::compute);
}

TEST_CASE("a kernel that runs on one core takes as many times as long", "[cost_models]") {
  Compute work = matmul({3, 8, 128, 128}, Bytes(1000));
  work.scores = 3 * 8 * 128;
  work.grid_steps = 3;
  Machine machine = toy_machine();
  machine.cores = 2;
  machine.softmax_ops = 10;
  machine.vector_rate = 2e12;
  machine.grid_step = Picoseconds(7);
  for (const OpKind kind : {OpKind::attention, OpKind::grouped_matmul, OpKind::matmul}) {
    work.kind = kind;
    machine.software = {};
    const Price both = price(work, machine);
    CHECK(both.core[idle_cores] == 0);
    machine.software.attention_on_one_core = kind == OpKind::attention;
    machine.software.grouped_matmul_on_one_core = kind != OpKind::attention;
    const Price one = price(work, machine);
    if (kind == OpKind::matmul) {
      CHECK(one.duration == both.duration);  // no kernel of Mosaic's
      continue;
    }
    CHECK(one.core[idle_cores] == Approx(sum(both.core)));
    CHECK(static_cast<double>(one.duration.value()) == Approx(2 * sum(both.core)));
    CHECK(one.times[hbm] == both.times[hbm]);
  }
}

TEST_CASE("rows through an index move at their own rates", "[cost_models]") {
  // 1,000 bytes stream at 1 B/ps; of those 400 are gathered at 0.25 and 200 scatter-added at 0.01:
  // 1,600 + 20,000 ps, longer than the 1,000 of HBM, which is used for 1,000 of 21,600.
  Compute work;
  work.hbm_bytes = Bytes(1000);
  work.gathered = Bytes(400);
  work.scatter_added = Bytes(200);
  Machine machine = toy_machine();
  machine.row_gather = BytesPerSecond(0.25e12);
  machine.scatter_add = BytesPerSecond(0.01e12);
  const Price slow = price(work, machine);
  CHECK(slow.duration == Picoseconds(21'600));
  CHECK(slow.core[row_gather] == Approx(1'600));
  CHECK(slow.core[scatter_add] == Approx(20'000));
  CHECK(slow.use(hbm) == Approx(1000.0 / 21'600));
  CHECK(price(work, toy_machine()).duration == Picoseconds(1000));
}

TEST_CASE("keys are sorted on the core", "[cost_models]") {
  Compute work;
  work.hbm_bytes = Bytes(50);
  work.sort_steps = 120;
  Machine machine = toy_machine();
  machine.sort_step = 3e-12;
  const Price sorted = price(work, machine);
  CHECK(sorted.duration == Picoseconds(360));
  CHECK(sorted.core[key_sort] == Approx(360));
}

TEST_CASE("grouped products fetch operands again, tile by tile", "[cost_models]") {
  // 512 rows over 2 experts: 4 tiles of 128 rows, one of them for both, so 5 visits of 640 rows.
  // [512, 256] x [256, 384], bfloat16.
  Compute work = matmul({1, 512, 256, 384}, Bytes(0));
  work.kind = OpKind::grouped_matmul;
  work.groups = 2;
  work.tile = {128, 256, 128};
  Machine machine = toy_machine();
  machine.matmul = FlopsPerSecond(infinite);
  const auto bytes = [&] { return price(work, machine).times[hbm]; };
  // The depth fits a tile: weights stay for a group's rows; 3 column tiles read the rows 3 times.
  CHECK(bytes() == Approx(2 * 2 * 640 * 256));
  // A tile of half the depth: weights once per visit, 5 - 2 times again.
  work.tile.k = 128;
  CHECK(bytes() == Approx(2 * (2 * 640 * 256 + 3 * 256 * 384)));
  // A weight gradient: rows 3 times, their gradients twice.
  work.contracts_rows = true;
  CHECK(bytes() == Approx(2 * (2 * 640 * 256 + 640 * 384)));
}

TEST_CASE("eight-bit products run at the chip's eight-bit peak", "[cost_models]") {
  Compute work = matmul({1, 8, 128, 128}, Bytes(0));
  Machine machine = toy_machine();
  machine.int8_speedup = 2;
  work.format = NumberFormat::int8;
  CHECK(price(work, machine).duration == Picoseconds(131'072));
  work.format = NumberFormat::fp8;
  CHECK(price(work, machine).duration == Picoseconds(262'144));
}
