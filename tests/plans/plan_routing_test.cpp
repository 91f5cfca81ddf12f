// The routing scenario of a plan, and what of a trace must fit.
#include "plans/plan_routing.hpp"

#include <catch2/catch.hpp>

#include "inputs/yaml.hpp"
#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

Plan tiny(const std::map<std::string, std::string>& own, Words more = {}) {
  Words words{"model_name=deepseek4-tiny", "compile_topology=v5p-16", "attention=dot_product",
              "per_device_batch_size=1",   "max_target_length=8",     "ici_expert_parallelism=2"};
  words.insert(words.end(), more.begin(), more.end());
  PlanRequest r = request(std::move(words));
  for (const auto& [key, value] : own) r.own[key] = parse_yaml({"<command line> --" + key, value});
  return make_plan(r);
}

// Every slot of every layer of deepseek4-tiny (43 layers, 16 experts, top-4) from two ranks of 8
// tokens.
std::string trace_of(std::int64_t layers, std::int64_t experts, std::int64_t ranks,
                     const std::string& model) {
  RoutingTrace trace;
  trace.model = model;
  trace.ranks = ranks, trace.experts = experts, trace.top_k = 4, trace.layers = layers;
  trace.tokens_per_rank = 8;
  CountMatrix slots(ranks, experts);
  for (std::int64_t p = 0; p < ranks; ++p)
    for (std::int64_t e = 0; e < 4; ++e) slots.at(p, e) = 8;
  for (std::int64_t layer = 0; layer < layers; ++layer) trace.add(layer, 0, slots);
  return routing_trace_text(trace);
}

bool has_assumption(const Plan& plan, const std::string& text) {
  return std::any_of(plan.assumptions.begin(), plan.assumptions.end(),
                     [&](const std::string& each) { return each.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("a plan without a word about routing is balanced", "[plans][routing]") {
  CHECK(tiny({}).routing.balanced());
  CHECK(tiny({{"routing", "balanced"}}).routing.balanced());
  CHECK_FALSE(tiny({{"hash_table", "zeros"}}).routing.balanced());
  CHECK_FALSE(tiny({{"routing", "lognormal:sigma=0.01,seed=1"}}).routing.balanced());
  CHECK(tiny({{"routing", "lognormal:sigma=0,seed=1"}}).routing.balanced());
}

TEST_CASE("three of DeepSeek-V4's layers are hash-routed", "[plans][routing]") {
  const std::vector<bool> hashed = hash_routed(tiny({}).model);
  REQUIRE(hashed.size() == 43);
  for (std::size_t layer = 0; layer < hashed.size(); ++layer) CHECK(hashed[layer] == (layer < 3));
}

TEST_CASE("a token law alone takes a random table", "[plans][routing]") {
  const Plan plan = tiny({{"token_law", "zipf:s=1"}});
  CHECK(plan.routing.table.kind == HashTableLaw::Kind::random);
  CHECK(has_assumption(plan, "the table is random"));
}

TEST_CASE("a scenario for layers that are not there is said to change nothing",
          "[plans][routing]") {
  PlanRequest r = request(llama());
  r.own["routing"] = parse_yaml({"f", "lognormal:sigma=0.2"});
  r.own["hash_table"] = parse_yaml({"f", "md5"});
  const Plan plan = make_plan(r);
  CHECK(has_assumption(plan, "routing changes nothing: model llama3.1-8b has no layers with"));
  CHECK(has_assumption(plan, "hash_table changes nothing"));
}

TEST_CASE("a trace must be of the plan's model and ranks", "[plans][routing]") {
  const TemporaryFolder folder;
  const auto with = [&](const std::string& text) {
    const std::string path = folder.file("trace.jsonl", text);
    return tiny({{"routing", "trace:" + path}});
  };
  const Plan plan = with(trace_of(43, 16, 2, "deepseek4-tiny"));
  REQUIRE(plan.routing.trace);
  CHECK(plan.routing.trace->slots(42, 0).at(1, 3) == 8);
  const auto says = [&](const std::string& text, const std::string& part) {
    CHECK_THAT(refusal([&] { with(text); }).what(),
               Contains("meshsim.routing: the trace ") && Contains(part));
  };
  says(trace_of(43, 16, 2, "deepseek4-284b"), "model (got deepseek4-284b, want deepseek4-tiny)");
  says(trace_of(43, 8, 2, "deepseek4-tiny"), "num_experts (got 8, want 16)");
  says(trace_of(43, 16, 4, "deepseek4-tiny"), "expert-parallel ranks (got 4, want 2)");
  says(trace_of(4, 16, 2, "deepseek4-tiny"), "MoE layers (got 4, want 43)");
  CHECK_THAT(refusal([&] { with("{}\n"); }).what(), Contains("trace.jsonl:1"));
  const std::string path = folder.file("trace.jsonl", trace_of(43, 16, 2, "deepseek4-tiny"));
  CHECK_THAT(refusal([&] {
               tiny({{"routing", "trace:" + path + ",step=1"}});
             }).what(),
             Contains("steps (got 1, want at least 2, for step=1)"));
}

TEST_CASE("files of tables and tokens are read with the plan", "[plans][routing]") {
  const TemporaryFolder folder;
  const std::string histogram = folder.file("histogram.txt", "7 3\n0 1\n");
  const Plan plan = tiny({{"token_law", "histogram:" + histogram}, {"hash_table", "md5"}});
  REQUIRE(plan.routing.histogram);
  CHECK((*plan.routing.histogram)[7] == 3);
  CHECK_THAT(refusal([&] {
               tiny({{"hash_table", folder.file("table.txt", "0 1 2 99\n")}});
             }).what(),
             Contains("table.txt:1:7"));
}
