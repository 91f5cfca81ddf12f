// What holds of every way in which tokens reach their experts: bounds of overlap, sums without
// remainder, buffers that end, equal steps on equal meshes, balanced loads, more memory for more
// work.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <utility>

#include "cost_models/machine.hpp"
#include "program/lifetimes.hpp"
#include "program/live_memory.hpp"
#include "sim/attribution.hpp"
#include "sim/closed_form.hpp"
#include "sim/evaluation.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

struct Way {
  const char* name;
  Words words;
};

const std::vector<Way>& ways() {
  static const Words ring{"use_ring_of_experts=true"};
  const auto ring_and = [](Words more) {
    more.insert(more.end(), ring.begin(), ring.end());
    return more;
  };
  static const std::vector<Way> all{
      {"every expert here", {"ici_expert_parallelism=1"}},
      {"every expert here, columns of hyper-connected streams split",
       {"model_name=deepseek4-284b", "ici_expert_parallelism=1", "ici_tensor_parallelism=4",
        "logical_axis_rules=[[kv_heads, null]]"}},
      {"experts on fsdp", {"ici_expert_parallelism=1", "shard_exp_on_fsdp=true"}},
      {"ragged all-to-all", {}},
      {"pipeline beside dense layers",
       {"ici_pipeline_parallelism=2", "allow_split_physical_axes=true"}},
      {"two-dimensional FSDP", {"use_2d_fsdp_sharding=true", "ici_fsdp_transpose_parallelism=4"}},
      {"ragged all-to-all in buffers", {"ragged_buffer_factor=1.5", "use_ragged_sort=true"}},
      {"ring", ring},
      {"token chunks", ring_and({"num_moe_token_chunks=4"})},
      {"token chunks with barriers",
       ring_and({"num_moe_token_chunks=4", "moe_chunk_barrier=true"})},
      {"embedding chunks",
       ring_and({"num_moe_emb_chunks=4", "use_gmm_v2=true", "use_tokamax_gmm=true"})},
      {"batch split", {"use_batch_split_schedule=true"}},
      {"all experts on all tokens", {"sparse_matmul=false"}},
      {"places of a capacity by columns",
       {"sparse_matmul=false", "capacity_factor=1.25", "ici_tensor_parallelism=4"}},
      {"places of a capacity", {"sparse_matmul=false", "capacity_factor=1.25"}},
  };
  return all;
}

// DeepSeek-V2-Lite's 26 MoE layers of 64 experts on 64 chips, 4 x 4 x 4.
Plan plan_of_way(const Way& way, const Words& more = {}) {
  Words words{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
              "max_target_length=1024"};
  words.insert(words.end(), way.words.begin(), way.words.end());
  words.insert(words.end(), more.begin(), more.end());
  return plan_of(job("deepseek2-16b", "v5p-128", words));
}

StepProgram program_of(const Plan& plan) { return lower(plan, furthest_prefetch(plan)); }

}  // namespace

TEST_CASE("of every strategy, no overlap is never faster than XLA's, nor that than ideal overlap",
          "[sim][strategies]") {
  for (const Way& way : ways()) {
    INFO(way.name);
    const Plan plan = plan_of_way(way);
    REQUIRE(!not_lowered(plan));
    const StepProgram program = program_of(plan);
    Machine machine = machine_of(plan);
    std::vector<std::pair<double, double>> totals;  // closed form, events
    for (const Overlap overlap : {Overlap::none, Overlap::xla, Overlap::ideal}) {
      machine.software.overlap = overlap;
      totals.emplace_back(static_cast<double>(closed_form(program, machine).total.value()),
                          static_cast<double>(simulate_events(program, machine).total.value()));
      CHECK(totals.back().second == Approx(totals.back().first).epsilon(0.01));
    }
    for (std::size_t i = 1; i < totals.size(); ++i) {
      CHECK(totals[i].first <= totals[i - 1].first * (1 + 1e-9));
      CHECK(totals[i].second <= totals[i - 1].second * (1 + 1e-9));
    }
    CHECK(totals.back().first < totals.front().first);
  }
}

TEST_CASE("of every strategy, categories sum to totals and every buffer is freed",
          "[sim][strategies]") {
  for (const Way& way : ways()) {
    INFO(way.name);
    const Plan plan = plan_of_way(way);
    const StepProgram program = program_of(plan);
    const Timeline timeline = closed_form(program, machine_of(plan));
    Picoseconds parts;
    for (const TimePart& part : timeline.parts) parts += part.time;
    CHECK(parts == timeline.total);
    Picoseconds causes;
    for (const Attribution& one : attribution(timeline)) causes += one.time;
    CHECK(causes == timeline.total);
    const MemoryPeak peak = memory_peak(program);
    Bytes categories;
    for (const auto& [name, bytes] : peak.categories) categories += bytes;
    CHECK(categories == peak.temp);

    // Whatever is made is used, and ends: at the last operation, the optimizer's, only gradients
    // are left.
    const Lifetimes lifetimes(program);
    const int last = static_cast<int>(lifetimes.leaves().size()) - 1;
    for (std::size_t i = 0; i < program.buffers.size(); ++i) {
      const LifeRange& range = lifetimes.ranges()[i];
      const Buffer& buffer = program.buffers[i];
      INFO(buffer.name << " (" << buffer.category << ")");
      if (!range.used()) continue;  // of a symbol whose operation is dead code
      CHECK(range.first <= range.last);
      if (buffer.category != "gradients" && buffer.category != "optimizer")
        CHECK(range.last < last);
    }
    CHECK(lifetimes.leaves().back()->pass == Pass::optimizer);
  }
}

TEST_CASE("of every strategy, torus axes of one length may change places", "[sim][strategies]") {
  for (const Way& way : ways()) {
    INFO(way.name);
    Plan plan = plan_of_way(way);
    const StepProgram program = program_of(plan);
    const Picoseconds closed = closed_form(program, machine_of(plan)).total;
    const Picoseconds events = simulate_events(program, machine_of(plan)).total;
    REQUIRE(plan.placement.physical == std::vector<std::int64_t>{4, 4, 4});
    for (int turn = 0; turn < 2; ++turn) {
      auto& rows = plan.placement.assignment;
      std::rotate(rows.begin(), rows.begin() + 1, rows.end());
      CHECK(closed_form(program, machine_of(plan)).total == closed);
      CHECK(simulate_events(program, machine_of(plan)).total == events);
    }
  }
}

TEST_CASE("of every strategy, a skew of 1 costs nothing", "[sim][strategies]") {
  // T = 2048 tokens on each of 4 ranks, k = 6: 2048 x 6 / 64 = 192 slots for each expert.
  auto trace = std::make_shared<RoutingTrace>();
  trace->model = "deepseek2-16b";
  trace->ranks = 4, trace->experts = 64, trace->top_k = 6, trace->layers = 26;
  trace->tokens_per_rank = 2048;
  CountMatrix equal(4, 64);
  std::fill(equal.counts.begin(), equal.counts.end(), 192);
  for (std::int64_t layer = 0; layer < 26; ++layer) trace->add(layer, 0, equal);
  for (const Way& way : ways()) {
    INFO(way.name);
    const Plan balanced = plan_of_way(way);
    // The trace is of 4 ranks and one microbatch.
    if (balanced.mesh.size("expert") != 4 || balanced.mesh.size("stage") > 1) continue;
    Plan even = balanced;
    even.routing.law.kind = RoutingLaw::Kind::trace;
    even.routing.trace = trace;
    for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
      const Evaluation a = evaluate(balanced, fidelity);
      const Evaluation b = evaluate(even, fidelity);
      CHECK(a.step->timeline.total.value() == b.step->timeline.total.value());
      CHECK(a.peak() == b.peak());
    }
  }
}

TEST_CASE("of every strategy, more batch never takes less memory, nor less time",
          "[sim][strategies]") {
  for (const Way& way : ways()) {
    Bytes memory;
    Picoseconds time;
    for (const char* batch : {"2", "4", "6", "12"}) {
      INFO(way.name << ", " << batch << " sequences");
      const Plan plan = plan_of_way(way, {std::string("per_device_batch_size=") + batch});
      const StepProgram program = program_of(plan);
      const MemoryPeak peak = memory_peak(program);
      CHECK(peak.temp >= memory);
      memory = peak.temp;
      const Picoseconds total = closed_form(program, machine_of(plan)).total;
      CHECK(total >= time);
      time = total;
    }
  }
}

TEST_CASE("of every strategy, skew is never faster, and its layers' costs are all of it",
          "[sim][strategies]") {
  for (const Way& way : ways()) {
    const std::string name = way.name;
    if (name.starts_with("every expert here") || name.starts_with("experts on") ||
        name.starts_with("all experts") || name.starts_with("places"))
      continue;  // what a device multiplies does not follow its routing
    INFO(name);
    const Plan balanced = plan_of_way(way);
    Plan skewed = balanced;
    skewed.routing.law.kind = RoutingLaw::Kind::lognormal;
    skewed.routing.law.sigma = 0.7;
    skewed.routing.law.seed = 7;
    const Evaluation a = evaluate(balanced, Fidelity::closed_form);
    const Evaluation b = evaluate(skewed, Fidelity::closed_form);
    const Evaluation c = evaluate(skewed, Fidelity::event);
    CHECK(b.step->timeline.total >= a.step->timeline.total);
    CHECK(c.step->timeline.total / b.step->timeline.total == Approx(1).margin(0.01));
    Picoseconds imbalance;
    for (const TimePart& part : b.step->timeline.parts) {
      if (part.cause == "imbalance") imbalance += part.time;
    }
    CHECK(imbalance > Picoseconds(0));
    CHECK(b.step->experts.size() == 26);
  }
}
