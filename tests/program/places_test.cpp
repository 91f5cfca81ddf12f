// The dense path with capacity, and with expert parallelism; truncated buffers; gathers in stages.
#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

struct PlacedSums {
  std::map<std::string, std::int64_t> sent;
  std::map<std::string, Matmul> products;
};

PlacedSums placed_sums_of(const char* model, const char* slice, const Words& words) {
  PlacedSums sums;
  const Plan plan = plan_of(job(model, slice, words));
  for_each_leaf(lower(plan, Prefetch::layer).root, [&](const Leaf& leaf, std::int64_t) {
    const std::string key = std::string(name(leaf.pass)) + " " + leaf.name;
    if (const auto* work = std::get_if<Collective>(&leaf.work)) {
      std::string axes;
      for (const std::string& axis : work->mesh_axes) axes += " " + axis;
      sums.sent[key + axes] = work->sent().value();
    }
    if (const auto* work = std::get_if<Compute>(&leaf.work)) {
      if (!work->matmuls.empty()) sums.products[key] = work->matmuls.front();
    }
  });
  return sums;
}

}  // namespace

TEST_CASE("capacity: a sequence drops what its experts have no place for", "[program][dense]") {
  // Mixtral 8x7B: E = 8, k = 2, 32 layers; 2 sequences of S = 2048 on each of 4 expert-parallel
  // devices: 8 x 2048 x 2 slots in a layer.
  const auto lowered = [](const char* factor, double sigma) {
    Plan plan = plan_of(
        job("mixtral-8x7b", "v5p-16",
            {"sparse_matmul=false", std::string("capacity_factor=") + factor,
             "per_device_batch_size=2", "ici_expert_parallelism=4", "ici_fsdp_parallelism=-1"}));
    if (sigma > 0) {
      plan.routing.law.kind = RoutingLaw::Kind::lognormal;
      plan.routing.law.sigma = sigma;
      plan.routing.law.seed = 3;
    }
    return lower(plan, Prefetch::kernel);
  };
  const std::int64_t routed = std::int64_t{32} * 8 * 2048 * 2;
  CHECK(lowered("1.0", 0).routed_slots == routed);
  // Balanced, 512 slots of each expert find 512 places, or int(512 x 0.75) = 384.
  CHECK(lowered("1.0", 0).dropped_slots == 0);
  CHECK(lowered("0.75", 0).dropped_slots == routed / 4);
  std::int64_t before = 0;
  for (const double sigma : {0.1, 0.4, 0.8}) {
    const StepProgram program = lowered("1.0", sigma);
    CHECK(program.routed_slots == routed);
    CHECK(program.dropped_slots > before);
    CHECK(lowered("1.5", sigma).dropped_slots < program.dropped_slots);
    before = program.dropped_slots;
  }
  CHECK(before < routed / 2);
  CHECK(lowered("8.0", 0.8).dropped_slots == 0);  // a place for every token: C = 4096 >= S
}

TEST_CASE("capacity: masks put tokens into places", "[program][dense]") {
  // Mixtral 8x7B: E = 8, k = 2, D = 4096, F = 14336; one sequence of S = 2048 a device.
  // C = int(max(ceil(2048 x 2 / 8) 1.25, 1.25)) = 640 places of an expert.
  const PlacedSums sums =
      placed_sums_of("mixtral-8x7b", "v5p-16",
                     {"sparse_matmul=false", "capacity_factor=1.25", "remat_policy=none"});
  const auto is = [&](const char* name, const Matmul& product) {
    INFO(name);
    const Matmul& found = sums.products.at(name);
    CHECK(found.count == product.count);
    CHECK(found.m == product.m);
    CHECK(found.k == product.k);
    CHECK(found.n == product.n);
  };
  is("forward dispatch_places", {1, 8 * 640, 2048, 4096});
  is("forward experts_up", {2 * 8, 640, 4096, 14336});
  is("forward experts_down", {8, 640, 14336, 4096});
  is("forward combine_places", {1, 2048, 8 * 640, 4096});
  is("backward combine_places_dmask", {1, 2048, 4096, 8 * 640});
  is("backward combine_places_dx", {1, 8 * 640, 2048, 4096});
  is("backward dispatch_places_dx", {1, 2048, 8 * 640, 4096});
  is("backward experts_up_dw", {2 * 8, 4096, 640, 14336});
  for (const auto& [name, bytes] : sums.sent) CHECK(name.find("expert") == std::string::npos);
}

TEST_CASE("capacity: the places of experts travel to their devices", "[program][dense]") {
  const PlacedSums sums =
      placed_sums_of("mixtral-8x7b", "v5p-16",
                     {"sparse_matmul=false", "capacity_factor=1.25", "ici_expert_parallelism=4",
                      "ici_fsdp_parallelism=-1", "remat_policy=none"});
  // E B C D in bfloat16, less a quarter; 2 experts of 4 sequences' places here.
  const std::int64_t sent = std::int64_t{8} * 640 * 4096 * 2 / 4 * 3;
  for (const char* name : {"forward dispatch expert", "forward combine expert",
                           "backward dispatch_back expert", "backward combine_back expert"})
    CHECK(sums.sent.at(name) == sent);
  CHECK(sums.products.at("forward experts_up").count == 2 * 2);
  CHECK(sums.products.at("forward experts_up").m == 4 * 640);
}

TEST_CASE("all experts on all tokens are gathered over the expert axis too", "[program][dense]") {
  const Words dense{"sparse_matmul=false", "capacity_factor=-1", "remat_policy=none"};
  Words spread = dense;
  spread.insert(spread.end(), {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1"});
  const PlacedSums one = placed_sums_of("mixtral-8x7b", "v5p-16", dense);
  const PlacedSums four = placed_sums_of("mixtral-8x7b", "v5p-16", spread);
  for (const auto& [name, product] : one.products) {
    INFO(name);
    CHECK(four.products.at(name).m == product.m);
    CHECK(four.products.at(name).count == product.count);
  }
  // 8 experts of 3 D F in bfloat16 arrive from 8 devices, whichever axes these lie on.
  std::int64_t experts_sent = 0;
  for (const auto& [name, bytes] : four.sent) {
    if (name.starts_with("forward gather_weights expert")) experts_sent = bytes;
    if (name.starts_with("forward gather_weights") && name.find("expert") != std::string::npos)
      experts_sent = std::max(experts_sent, bytes);
  }
  CHECK(experts_sent >= std::int64_t{8} * 3 * 4096 * 14336 * 2 / 8 * 7);
}

TEST_CASE("what a full buffer drops does not travel", "[program][ep]") {
  // Qwen3-30B-A3B, P = 4: n = 2048 x 8 slots; buffers of int(n f) rows, of which P - 1 shares come
  // from others.
  const std::int64_t n = 2048 * 8;
  for (const double f : {0.5, 0.75, 1.0, 2.0}) {
    const PlacedSums sums =
        placed_sums_of("qwen3-30b-a3b", "v5p-32",
                       {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                        "ragged_buffer_factor=" + std::to_string(f), "remat_policy=none"});
    const auto rows = static_cast<std::int64_t>(static_cast<double>(n) * std::min(f, 1.0));
    CHECK(sums.sent.at("forward dispatch expert") == rows * 2048 * 2 / 4 * 3);
    CHECK(sums.sent.at("backward combine_back expert") == rows * 2048 * 2 / 4 * 3);
    CHECK(sums.products.at("forward gmm_up").m == rows);
  }
}

TEST_CASE("two stages gather over one axis, then over the others", "[program][ep]") {
  const Words axes{"ici_fsdp_parallelism=4", "ici_fsdp_transpose_parallelism=4",
                   "remat_policy=none"};
  const PlacedSums one = placed_sums_of("qwen3-30b-a3b", "v5p-32", axes);
  Words staged = axes;
  staged.emplace_back("moe_fsdp_use_two_stage_all_gather=true");
  const PlacedSums two = placed_sums_of("qwen3-30b-a3b", "v5p-32", staged);
  // 128 experts of 3 D F in bfloat16: G bytes in all. One stage receives 15/16 G; two stages 3/4 of
  // G / 4, then 3/4 of G. Gradients in float32 go back the same way.
  const std::int64_t G = std::int64_t{128} * 3 * 2048 * 768 * 2;
  CHECK(two.sent.at("forward gather_weights_first fsdp") == G / 4 / 4 * 3);
  CHECK(two.sent.at("forward gather_weights fsdp_transpose") == G / 4 * 3);
  CHECK(two.sent.at("backward scatter_gradients_first fsdp_transpose") == 2 * G / 4 * 3);
  CHECK(two.sent.at("backward scatter_gradients fsdp") >= 2 * G / 4 / 4 * 3);
  CHECK(!one.sent.contains("forward gather_weights_first fsdp"));
}
