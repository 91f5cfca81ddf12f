// Unbalanced routing: who waits for whom, layer by layer, in both engines.
#include <catch2/catch.hpp>
#include <memory>
#include <numeric>

#include "program/expert_loads.hpp"
#include "sim/closed_form.hpp"
#include "sim/evaluation.hpp"
#include "sim/evaluator.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"
#include "tests/sim/toy_programs.hpp"
#include "tests/sim/toy_routing.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Picoseconds cause(const Timeline& timeline, const std::string& name) {
  Picoseconds sum;
  for (const TimePart& part : timeline.parts) {
    if (part.cause == name) sum += part.time;
  }
  return sum;
}

Picoseconds all_parts(const Timeline& timeline) {
  Picoseconds sum;
  for (const TimePart& part : timeline.parts) sum += part.time;
  return sum;
}

Plan routed_plan(const std::string& model, const std::string& slice, const Words& more,
                 const std::map<std::string, std::string>& own) {
  PlanRequest r = request(job(model, slice, more));
  for (const auto& [key, value] : own) {
    Node node;
    node.kind = Node::Kind::scalar;
    node.text = value;
    r.own[key] = node;
  }
  return make_plan(r);
}

Plan qwen(const std::map<std::string, std::string>& own, Words more = {}) {
  Words words{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1"};
  words.insert(words.end(), more.begin(), more.end());
  return routed_plan("qwen3-30b-a3b", "v5p-32", words, own);
}

}  // namespace

TEST_CASE("the time of a step is the sum of its layers' slowest ranks", "[sim][imbalance]") {
  // 128 rows a rank in the mean. Layer 0 gives rank 0 192 rows, layer 1 gives them to rank 1:
  // either layer takes 24 tiles, though over both no rank has more than the mean of 32.
  StepProgram program = program_of(repeat(2, routed_work(0), RepeatOf::layers, 1));
  program.loads = loads_of({two_ranks(96, 32), two_ranks(32, 96)});
  const Machine machine = toy_machine();
  for (const Timeline& timeline :
       {closed_form(program, machine), simulate_events(program, machine)}) {
    CHECK(timeline.total == Picoseconds(2 * 24 * tile_time));
    CHECK(cause(timeline, "compute") == Picoseconds(2 * 16 * tile_time));
    CHECK(cause(timeline, "imbalance") == Picoseconds(2 * 8 * tile_time));
    CHECK(timeline.imbalance == std::vector<Picoseconds>(2, Picoseconds(8 * tile_time)));
  }
}

TEST_CASE("a backward pass meets the exchanges in reverse", "[sim][imbalance]") {
  // Layers 0, 1, 2 with 128, 160 and 192 rows at the most; from the last to the first.
  StepProgram program = program_of(repeat(3, routed_work(2), RepeatOf::layers, -1));
  program.loads = loads_of({two_ranks(64, 64), two_ranks(80, 48), two_ranks(96, 32)});
  const Machine machine = toy_machine();
  const Timeline closed = closed_form(program, machine);
  CHECK(closed.total == Picoseconds((16 + 20 + 24) * tile_time));
  CHECK(closed.imbalance == std::vector<Picoseconds>{Picoseconds(0), Picoseconds(4 * tile_time),
                                                     Picoseconds(8 * tile_time)});
  CHECK(simulate_events(program, machine).total == closed.total);
}

TEST_CASE("layers under their own loads take what all of them take, run one by one",
          "[sim][imbalance]") {
  const Plan plan = qwen({{"routing", "lognormal:sigma=0.45,seed=1"}},
                         {"gradient_accumulation_steps=2", "max_target_length=512"});
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram program = lower(plan, prefetch);
    const Machine machine = machine_of(plan);
    const Timeline once = simulate_events(program, machine);
    const Timeline all = simulate_unrolled(program, machine);
    CHECK(once.total == all.total);
    CHECK(once.imbalance == all.imbalance);
    CHECK(once.imbalance.size() > 48);  // of two microbatches
    REQUIRE(once.parts.size() == all.parts.size());
    for (std::size_t i = 0; i < all.parts.size(); ++i) {
      INFO(all.parts[i].layer_kind << " " << all.parts[i].cause);
      CHECK(once.parts[i].cause == all.parts[i].cause);
      CHECK(once.parts[i].time == all.parts[i].time);
    }
  }
}

TEST_CASE("what a transfer hides is not paid twice", "[sim][imbalance]") {
  // The busiest rank's 24 tiles (6.3 us) run beside a gather of 5.1 us, longer than 16 and less
  // than 24: the step is as long as the straggler.
  StepProgram program = program_of(parallel(routed_work(0), {gather(13'600'000)}));
  program.loads = loads_of({two_ranks(96, 32)});
  Machine machine = toy_machine();
  machine.hbm = BytesPerSecond(infinite);
  const Timeline timeline = closed_form(program, machine);
  CHECK(timeline.total == Picoseconds(24 * tile_time));
  CHECK(timeline.total == simulate_events(program, machine).total);
}

TEST_CASE("loads that are equal cost nothing", "[sim][imbalance]") {
  // Qwen3-30B-A3B: 48 layers of 128 experts, k = 8; T = 2048 tokens on each of 4 ranks: T k / E =
  // 128 slots of each rank for each expert.
  auto trace = std::make_shared<RoutingTrace>();
  trace->model = "qwen3-30b-a3b";
  trace->ranks = 4, trace->experts = 128, trace->top_k = 8, trace->layers = 48;
  trace->tokens_per_rank = 2048;
  CountMatrix equal(4, 128);
  for (std::int64_t& count : equal.counts) count = 128;
  for (std::int64_t layer = 0; layer < 48; ++layer) trace->add(layer, 0, equal);
  for (const Words& words :
       {Words{}, Words{"use_ring_of_experts=true"}, Words{"use_ragged_sort=true"},
        Words{"use_ring_of_experts=true", "num_moe_token_chunks=4"}}) {
    const Plan balanced = qwen({}, words);
    Plan traced = qwen({}, words);
    traced.routing.law.kind = RoutingLaw::Kind::trace;
    traced.routing.trace = trace;
    for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
      const Evaluation a = evaluate(balanced, fidelity);
      const Evaluation b = evaluate(traced, fidelity);
      CHECK(a.step->timeline.total == b.step->timeline.total);
      CHECK(a.peak() == b.peak());
      CHECK(cause(b.step->timeline, "imbalance") == Picoseconds(0));
      REQUIRE(b.step->experts.size() == 48);
      CHECK(b.step->experts.front().skew == 1);
    }
  }
}

TEST_CASE("more skew is never faster; the engines agree; nothing is left over",
          "[sim][imbalance]") {
  for (const Words& words : {Words{"use_ragged_sort=true"}, Words{"use_ring_of_experts=true"},
                             Words{"use_ring_of_experts=true", "num_moe_token_chunks=4"}}) {
    const Picoseconds balanced =
        evaluate(qwen({}, words), Fidelity::closed_form).step->timeline.total;
    Picoseconds last = balanced;
    CHECK(evaluate(qwen({{"routing", "lognormal:sigma=0"}}, words), Fidelity::closed_form)
              .step->timeline.total == balanced);
    for (const char* sigma : {"1e-9", "0.2", "0.45", "0.7", "1"}) {
      const Plan plan = qwen({{"routing", std::string("lognormal:seed=3,sigma=") + sigma}}, words);
      const Timeline closed = evaluate(plan, Fidelity::closed_form).step->timeline;
      const Timeline events = evaluate(plan, Fidelity::event).step->timeline;
      INFO(sigma);
      CHECK(closed.total >= last);
      // Without a spread only chance is left: 8 experts of 512 rows, a mean over 32 of them.
      if (std::string(sigma) == "1e-9") CHECK(closed.total / balanced < 1.02);
      last = closed.total;
      CHECK(all_parts(closed) == closed.total);
      CHECK(all_parts(events) == events.total);
      const Picoseconds cost = cause(closed, "imbalance");
      CHECK(std::accumulate(closed.imbalance.begin(), closed.imbalance.end(), Picoseconds()) ==
            cost);
      // They part by the rounding of picoseconds alone.
      CHECK(events.total / closed.total == Approx(1).epsilon(1e-6));
      CHECK(cause(events, "imbalance") / cost == Approx(1).epsilon(1e-3));
    }
  }
}

TEST_CASE("a table of zeros: the hash layers of a fresh DeepSeek-V4 run", "[sim][imbalance]") {
  const Words words{"ici_expert_parallelism=8", "ici_fsdp_parallelism=-1", "use_ragged_sort=true"};
  const Plan plan = routed_plan("deepseek4-284b", "v5p-512", words, {{"hash_table", "zeros"}});
  const Evaluation evaluation = evaluate(plan, Fidelity::closed_form);
  REQUIRE(evaluation.step);
  REQUIRE(evaluation.step->experts.size() == 43);
  Picoseconds cost;
  for (const ExpertLayer& layer : evaluation.step->experts) {
    CHECK(layer.hashed == (layer.layer < 3));
    // Every slot of the group of 8 ranks to rank 0, others as balanced.
    CHECK(layer.skew == (layer.hashed ? 8 : 1));
    if (!layer.hashed) CHECK(layer.imbalance == Picoseconds(0));
    cost += layer.imbalance;
  }
  CHECK(cost > Picoseconds(0));
  for (const TimePart& part : evaluation.step->timeline.parts) {
    if (part.cause == "imbalance") CHECK(part.layer_kind.find("hash") != std::string::npos);
  }
  // E / k = 42.7 > P = 8: the buffers hold what 8 ranks send, and nothing is dropped.
  CHECK(evaluation.step->program.dropped_slots == 0);
  const auto& texts = evaluation.assumptions;
  CHECK(std::any_of(texts.begin(), texts.end(), [](const std::string& text) {
    return text.find("zeros sends every slot to expert 0") != std::string::npos;
  }));
}

TEST_CASE("buffers of a factor drop what does not fit", "[sim][imbalance]") {
  // Balanced: n f rows of n find a place.
  const Words half{"use_ragged_sort=true", "ragged_buffer_factor=0.5"};
  const Evaluation balanced = evaluate(qwen({}, half), Fidelity::closed_form);
  CHECK(balanced.step->program.dropped_slots * 2 == balanced.step->program.routed_slots);
  // Unbalanced: what the busiest ranks want beyond f times the mean.
  const std::map<std::string, std::string> skewed{{"routing", "lognormal:sigma=1,seed=1"}};
  // A tiled loss leaves the peak to the layers.
  const std::string tiled = "num_vocab_tiling=16";
  const Evaluation wide =
      evaluate(qwen(skewed, {"use_ragged_sort=true", "ragged_buffer_factor=1.1", tiled}),
               Fidelity::closed_form);
  const Evaluation dropless =
      evaluate(qwen(skewed, {"use_ragged_sort=true", tiled}), Fidelity::closed_form);
  std::int64_t dropped = 0;
  for (std::size_t i = 0; i < 48; ++i) {
    const ExpertLayer& cut = wide.step->experts[i];
    const ExpertLayer& whole = dropless.step->experts[i];
    const std::int64_t buffer = 2048 * 8 * 11 / 10;
    CHECK(whole.dropped == 0);
    CHECK(cut.skew == whole.skew);
    CHECK(cut.most_rows == std::min(whole.most_rows, buffer));
    if (whole.most_rows > buffer) CHECK(cut.dropped >= whole.most_rows - buffer);
    dropped += cut.dropped;
  }
  CHECK(dropped > 0);
  CHECK(wide.step->program.dropped_slots == dropped);
  CHECK(dropless.step->program.dropped_slots == 0);
  CHECK(wide.step->timeline.total < dropless.step->timeline.total);
  CHECK(wide.peak() < dropless.peak());
}

TEST_CASE("an evaluator meets loaded plans between balanced ones", "[sim][imbalance]") {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    Evaluator evaluator(fidelity);
    std::vector<Answer> answers;
    for (const char* law : {"balanced", "lognormal:sigma=0.45", "balanced", "lognormal:sigma=0"}) {
      const Plan plan = qwen({{"routing", law}});
      answers.push_back(evaluator.evaluate(plan));
      CHECK(answers.back() == answer_of(evaluate(plan, fidelity)));
    }
    CHECK(answers[1].step_time > answers[0].step_time);
    CHECK(answers[2] == answers[0]);
    CHECK(answers[3] == answers[0]);
  }
}

TEST_CASE("in a pipeline the stages wait for the one whose experts have most rows",
          "[sim][imbalance][pipeline]") {
  // Qwen3-30B-A3B, 48 layers, on 64 chips: 4 stages x FSDP 4 x EP 4; one sequence of 2048 tokens in
  // each of 8 microbatches. A stage has 3 layers at a time, or 1, and goes round 4 or 12 times.
  const auto piped = [](const char* stage_layers) {
    return plan_of(
        job("qwen3-30b-a3b", "v5p-128",
            {"ici_pipeline_parallelism=4", "ici_fsdp_parallelism=-1", "ici_expert_parallelism=4",
             "per_device_batch_size=2", "num_pipeline_microbatches=8", "use_ragged_sort=true",
             std::string("num_layers_per_pipeline_stage=") + stage_layers}));
  };
  const auto traced = [&](const char* stage_layers, std::int64_t skewed_layer) {
    auto trace = std::make_shared<RoutingTrace>();
    trace->model = "qwen3-30b-a3b";
    trace->ranks = 4, trace->experts = 128, trace->top_k = 8, trace->layers = 48;
    trace->tokens_per_rank = 2048;
    for (std::int64_t layer = 0; layer < 48; ++layer) {
      CountMatrix slots(4, 128);
      for (std::int64_t i = 0; i < 4; ++i) {
        // Half of rank 3's share to rank 0: 192 and 64 slots of an expert for 128.
        for (std::int64_t e = 0; e < 128; ++e)
          slots.at(i, e) = layer != skewed_layer || (e >= 32 && e < 96) ? 128 : e < 32 ? 192 : 64;
      }
      trace->add(layer, 0, slots);
    }
    Plan plan = piped(stage_layers);
    plan.routing.law.kind = RoutingLaw::Kind::trace;
    plan.routing.trace = trace;
    return plan;
  };
  for (const char* stage_layers : {"1", "3"}) {
    const Plan balanced = piped(stage_layers);
    const std::int64_t at_a_time = std::stoll(stage_layers);
    // M R + P - 1 iterations, R = 48 / (4 x layers of a stage).
    const std::int64_t iterations = 8 * (12 / at_a_time) + 3;
    const Evaluation even = evaluate(balanced, Fidelity::closed_form);
    const Evaluation same = evaluate(traced(stage_layers, -1), Fidelity::closed_form);
    CHECK(same.step->timeline.total == even.step->timeline.total);
    const Plan skewed = traced(stage_layers, 20);
    const Evaluation one = evaluate(skewed, Fidelity::closed_form);
    const ExpertLoads& loads = *one.step->program.loads;
    CHECK(static_cast<std::int64_t>(loads.exchanges.size()) == iterations * at_a_time);
    // One layer, met by each of the 8 microbatches: 1.5 times the mean.
    const auto late = std::count_if(loads.exchanges.begin(), loads.exchanges.end(),
                                    [](const auto& x) { return x.load.skew > 1; });
    CHECK(late == 8);
    for (std::size_t x = 0; x < loads.exchanges.size(); ++x) {
      if (loads.exchanges[x].load.skew == 1) continue;
      CHECK(loads.exchanges[x].load.skew == Approx(1.5));
      CHECK(loads.layer_of(x) == 20);
    }
    CHECK(one.step->program.routed_slots == std::int64_t{48} * 8 * 4 * 2048 * 8);
    CHECK(one.step->program.routed_slots == even.step->program.routed_slots);
    CHECK(one.step->timeline.total > even.step->timeline.total);
    // All of it is the cost of that layer, in either engine.
    const Picoseconds cost = cause(one.step->timeline, "imbalance");
    CHECK(cost > Picoseconds(0));
    for (const ExpertLayer& layer : one.step->experts)
      CHECK(layer.imbalance == (layer.layer == 20 ? cost : Picoseconds(0)));
    const Evaluation events = evaluate(skewed, Fidelity::event);
    CHECK(events.step->timeline.total / one.step->timeline.total == Approx(1).margin(0.01));
  }
}
