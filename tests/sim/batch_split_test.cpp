// What the batch-split schedule hides, on links and cores that nothing else uses: a layer costs
//
//   max(A, U) + max(A, R) + max(C, R) + max(C, U) + the rest
//
// with A attention, C experts, R and U the transfers before and after them, of one microbatch
// (program/batch_split.hpp).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "cost_models/machine.hpp"
#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"
#include "tests/sim/toy_programs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Plan plan_of_split(const Words& more = {}) {
  Words words{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
              "use_ragged_sort=true", "use_batch_split_schedule=true"};
  words.insert(words.end(), more.begin(), more.end());
  return plan_of(job("deepseek3-671b", "v5p-128", words));
}

// HBM and hops are free; links are `slower` than they are.
Machine uncontended(const Plan& plan, double slower) {
  Machine machine = machine_of(plan);
  machine.hbm = BytesPerSecond(infinite);
  machine.hop_latency = Picoseconds(0);
  machine.ici_link = machine.ici_link * (1 / slower);
  machine.software.overlap = Overlap::ideal;
  return machine;
}

bool has(const ProgramNode& node, Pass pass, const std::string& name) {
  bool found = false;
  for_each_leaf(node, [&](const Leaf& leaf, std::int64_t) {
    found = found || (leaf.pass == pass && leaf.name == name);
  });
  return found;
}

// The layer itself, less what travels beside it, inside the scan of the layers.
const ProgramNode* layer(const ProgramNode& node, Pass pass, bool in_scan = false) {
  const char* transfer = pass == Pass::forward ? "reduce_outputs" : "gather_gradients";
  if (in_scan && node.kind == ProgramNode::Kind::parallel && has(node.children[0], pass, transfer))
    return node.children.data();
  for (const ProgramNode& child : node.children) {
    if (child.kind == ProgramNode::Kind::leaf || !has(child, pass, transfer)) continue;
    const bool scan = child.kind == ProgramNode::Kind::repeat && child.times > 1;
    if (const ProgramNode* found = layer(child, pass, in_scan || scan)) return found;
  }
  return nullptr;
}

struct MicrobatchTimes {
  double attention = 0, experts = 0, there = 0, back = 0;  // of one microbatch
  double rest = 0;                                         // of both
  double attention_and_experts() const { return 2 * (attention + experts); }
  double scheduled() const {
    return std::max(attention, back) + std::max(attention, there) + std::max(experts, there) +
           std::max(experts, back) + rest;
  }
  double one_after_the_other() const { return attention_and_experts() + 2 * (there + back) + rest; }
};

bool starts(const std::string& name, std::initializer_list<const char*> with) {
  return std::any_of(with.begin(), with.end(),
                     [&](const char* start) { return name.starts_with(start); });
}

MicrobatchTimes microbatches_alone(const ProgramNode& node, const Machine& machine) {
  MicrobatchTimes times;
  for_each_leaf(node, [&](const Leaf& leaf, std::int64_t) {
    const auto time = static_cast<double>(price(leaf, machine).duration.value());
    if (starts(leaf.name, {"gather_ids", "gather_weights_of_choices", "sum_counts", "gather_tokens",
                           "reduce_tokens", "reduce_weights_of_choices"})) {
      times.there += time / 2;
    } else if (starts(leaf.name, {"reduce_outputs", "gather_gradients"})) {
      times.back += time / 2;
    } else if (starts(leaf.name, {"gmm_", "keep_up", "expert_activation"})) {
      times.experts += time / 2;
    } else if (starts(leaf.name, {"mlp_", "router", "route", "shared_", "sort", "fan_",
                                  "copy_gradients", "relayout_weights"})) {
      times.rest += time;
    } else {
      times.attention += time / 2;
    }
  });
  return times;
}

}  // namespace

TEST_CASE("batch split hides the smaller of each pair", "[sim][split]") {
  // From links that nothing waits for to links that everything waits for.
  std::set<bool> hidden;
  for (const double slower : {0.5, 1.0, 2.0, 4.0, 16.0}) {
    for (const Pass pass : {Pass::forward, Pass::backward}) {
      const Plan plan = plan_of_split();
      const Machine machine = uncontended(plan, slower);
      const StepProgram program = lower(plan, Prefetch::layer);
      const ProgramNode* node = layer(program.root, pass);
      REQUIRE(node != nullptr);
      const MicrobatchTimes t = microbatches_alone(*node, machine);
      REQUIRE(t.there > 0);
      REQUIRE(t.back > 0);
      INFO(name(pass) << ", links " << slower << " times slower: A " << t.attention << ", C "
                      << t.experts << ", R " << t.there << ", U " << t.back << ", rest " << t.rest);
      const auto events = static_cast<double>(simulate_events(*node, machine).total.value());
      CHECK(std::abs(events / t.scheduled() - 1) < 0.01);
      const bool all = t.scheduled() == t.attention_and_experts() + t.rest;
      hidden.insert(all);
      if (all)
        CHECK(std::abs(events / (t.one_after_the_other() - 2 * (t.there + t.back)) - 1) < 0.01);
      // Without overlap nothing is.
      Machine serial = machine;
      serial.software.overlap = Overlap::none;
      const auto sum = static_cast<double>(simulate_events(*node, serial).total.value());
      CHECK(sum == Approx(microbatches_alone(*node, serial).one_after_the_other()).epsilon(1e-6));
    }
  }
  CHECK(hidden.size() == 2);  // both sides of the pairs were met
}

TEST_CASE("batch split is never slower than one stage after the other, nor faster than its work",
          "[sim][split]") {
  for (const char* scan : {"scan_layers=true", "scan_layers=false"}) {
    const Plan plan = plan_of_split({scan});
    const StepProgram program = lower(plan, furthest_prefetch(plan));
    double last = 0;
    for (const Overlap overlap : {Overlap::ideal, Overlap::xla, Overlap::none}) {
      Machine machine = machine_of(plan);
      machine.software.overlap = overlap;
      const auto total = static_cast<double>(closed_form(program, machine).total.value());
      CHECK(total >= last);
      last = total;
      const double ratio =
          simulate_events(program, machine).total / closed_form(program, machine).total;
      CHECK(ratio == Approx(1).margin(0.01));
    }
  }
}
