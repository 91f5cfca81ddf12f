// Parameters that rest on the host are fetched over PCIe for every use.
#include <catch2/catch.hpp>

#include <map>
#include <set>

#include "plans/state.hpp"
#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

constexpr const char* on_host = "parameter_memory_host_offload=true";

// Bytes over PCIe, by name of the copy.
std::map<std::string, std::int64_t> copied(const StepProgram& program) {
  std::map<std::string, std::int64_t> bytes;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (const auto* copy = std::get_if<HostCopy>(&leaf.work))
      bytes[leaf.name] += copy->bytes.value() * times;
  });
  return bytes;
}

TEST_CASE("a layer's shards are fetched as often as its weights are used", "[program][host]") {
  const Plan plan = plan_of(job("llama3.1-8b", "v5p-64", {on_host}));
  const std::int64_t parameters =
      training_state(plan_of(job("llama3.1-8b", "v5p-64"))).on_device("parameters").value();
  // The table, and the head, of 128,256 x 4,096 fp32 over 32 devices; the final norm, a row of
  // 4,096 on every device, goes with the head.
  const std::int64_t table = 128'256LL * 4096 * 4 / 32;
  const std::int64_t head = table + 4096 * 4;
  const std::int64_t layers = parameters - table - head;
  // One layer ahead: each layer's weights come forward, and once more for its recomputation and
  // backward pass. The table is looked up in the forward pass only; the head's backward pass
  // follows its forward pass, and finds its weights there. The update reads all and writes all.
  const std::map<std::string, std::int64_t> ahead = copied(lower(plan, Prefetch::layer));
  CHECK(ahead.at("fetch_weights") == 2 * layers + table + head);
  CHECK(ahead.at("fetch") == parameters);
  CHECK(ahead.at("return") == parameters);
  // Each use by itself: the head's two, and the layers' recomputation and backward pass, but for
  // what full rematerialisation does not repeat: the last product, wo of the MLP, 14,336 x 4,096.
  const std::int64_t unrepeated = 32LL * 14'336 * 4096 * 4 / 32;
  CHECK(copied(lower(plan, Prefetch::use)).at("fetch_weights") ==
        3 * layers - unrepeated + table + 2 * head);
}

TEST_CASE("every gather reads what came from the host, and nothing of it stays",
          "[program][host]") {
  for (const std::string& model : testing::lowering_models()) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel, Prefetch::use}) {
      INFO(model << " " << static_cast<int>(prefetch));
      const Plan plan = plan_of(job(model, "v5p-16", {on_host}));
      const StepProgram program = lower(plan, prefetch);
      std::set<BufferId> fetched;
      std::int64_t gathers = 0;
      for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
        if (leaf.name == "fetch_weights") fetched.insert(leaf.writes.begin(), leaf.writes.end());
        if (leaf.name != "gather_weights") return;
        ++gathers;
        REQUIRE(leaf.reads.size() == 1);
        CHECK(fetched.contains(leaf.reads.front()));
      });
      CHECK(gathers > 0);
      const Plan whole = plan_of(job(model, "v5p-16"));
      const TrainingState here = training_state(whole);
      const TrainingState there = training_state(plan);
      CHECK(there.state() + there.on_host() == here.state() + here.on_host());
      // What passes through HBM is less than what has left it.
      CHECK(there.arguments() + memory_peak(program).temp <=
            here.arguments() + memory_peak(lower(whole, prefetch)).temp);
    }
  }
}

}  // namespace
}  // namespace meshsim
