// What MaxText has no key for: flags, and the meshsim: block of a plan file.
#include "plans/own_block.hpp"

#include <catch2/catch.hpp>

#include "inputs/yaml.hpp"
#include "plans/refusals.hpp"
#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

std::string own_fault(const std::string& key, const std::string& yaml) {
  Diagnostics faults;
  const Node node = parse_yaml({"plan.yml", yaml});
  if (check_own_key(key, node, node.where, faults)) return {};
  return refusal([&] { faults.throw_if_any(); }).what();
}

}  // namespace

TEST_CASE("values of the meshsim: block", "[plans][own]") {
  CHECK(own_fault("slice_shape", "4x8x8").empty());
  CHECK(own_fault("slice_shape", "[4, 8, 8]").empty());
  for (const char* shape : {"4x", "0x4", "4x8x8x8x8", "[]", "[4, 0]", "[4, '8']", "-1", "four",
                            "{a: 1}", "4 x 8", "[4.0]", "[[4]]"}) {
    INFO(shape);
    CHECK_THAT(own_fault("slice_shape", shape),
               Contains("plan.yml:1:1: error: meshsim.slice_shape: "));
  }
  CHECK(own_fault("hash_table", "md5").empty());
  CHECK_THAT(own_fault("hash_table", "md6"),
             Contains("must be one of zeros, random, md5, or a path"));
  CHECK(own_fault("routing", "balanced").empty());
  CHECK(own_fault("token_law", "uniform").empty());
  CHECK(own_fault("software", "{dvfs_p_state: 7}").empty());
  CHECK_THAT(own_fault("software", "{dvfs_pstate: 7}"),
             Contains("'dvfs_pstate' is not a known feature\n  hint: did you mean dvfs_p_state"));
  CHECK_THAT(own_fault("software", "[a]"), Contains("must be a mapping of features (got a list)"));
  CHECK_THAT(own_fault("software", "{dvfs_p_state: {a: 7}}"), Contains("must be a single value"));
  CHECK(own_fault("software", "{host_offload: TRUE, sparsecore_offload: null}").empty());
  CHECK_THAT(own_fault("software", "{sparsecore_offload: maybe}"),
             Contains("'sparsecore_offload' must be true, false or null (got 'maybe')"));
  CHECK_THAT(own_fault("nonsense", "1"), Contains("meshsim.nonsense: is not a known key"));
}

TEST_CASE("every refusal that can be lifted may be named, no other", "[plans][own]") {
  for (const std::string& id : liftable_refusals())
    CHECK(own_fault("allow", "[" + id + "]").empty());
  CHECK_THAT(own_fault("allow", "[v4-mpt]"),
             Contains("'v4-mpt' is not a refusal that can be lifted\n"
                      "  hint: did you mean v4-mtp"));
  CHECK_THAT(own_fault("allow", "[v4-attention]"), Contains("is not a refusal that can be lifted"));
  CHECK_THAT(own_fault("allow", "v4-mtp"), Contains("must be a list of ids"));
}

TEST_CASE("a flag overrules the block of a file", "[plans][own]") {
  const TemporaryFolder folder;
  PlanRequest r;
  r.config_file = folder.file("plan.yml", "meshsim:\n  hash_table: zeros\n  routing: balanced\n");
  CHECK(resolve_config(r).own.at("hash_table").origin == Origin::config_file);
  Node random = parse_yaml({"<command line> --hash-table", "random"});
  r.own["hash_table"] = random;
  const ResolvedConfig config = resolve_config(r);
  CHECK(config.own.at("hash_table").value.text == "random");
  CHECK(config.own.at("hash_table").origin == Origin::command_line);
  CHECK(config.own.at("routing").origin == Origin::config_file);
}

TEST_CASE("slice_shape: the torus where it is not the name's own", "[plans][own]") {
  const auto with_shape = [](const std::string& shape, Words words) {
    PlanRequest r = request(std::move(words));
    r.own["slice_shape"] = parse_yaml({"<command line> --slice-shape", shape});
    return make_plan(r);
  };
  const Words model{"model_name=llama3.1-8b", "per_device_batch_size=1"};
  const Plan bare = with_shape("2x4x4", model);
  CHECK(bare.devices() == 2 * 4 * 4);
  CHECK(bare.topology.slice.chip->name == "v5p");
  REQUIRE_FALSE(bare.assumptions.empty());
  CHECK_THAT(bare.assumptions.front(), Contains("v5p"));

  const Plan reshaped = with_shape("2x4x4", llama());  // v5p-64 has 32 chips
  CHECK(reshaped.topology.slice.name == "v5p-64");
  CHECK(reshaped.topology.slice.shape == std::vector<std::int64_t>{2, 4, 4});

  CHECK_THAT(refusal([&] { with_shape("4x4x4", llama()); }).what(),
             Contains("meshsim.slice_shape: 4x4x4 has 64 chips, but v5p-64 has 32"));
}

TEST_CASE("a MoE block alone", "[plans][own]") {
  CHECK(
      own_fault("moe_block", "{dispatch_variant: ring_legacy, shared_expert_mlp_dim: 64}").empty());
  CHECK_THAT(own_fault("moe_block", "ring"), Contains("must be a mapping (got 'ring')"));
  CHECK_THAT(
      own_fault("moe_block", "{dispatch_variant: rink}"),
      Contains("dispatch_variant must be one of ring_legacy, ring, ragged_a2a (got 'rink')"));
  CHECK_THAT(own_fault("moe_block", "{shared_expert_mlp_dim: 0}"),
             Contains("at least 1 (got '0')"));
  CHECK_THAT(own_fault("moe_block", "{dispatch_varian: ring}"),
             Contains("did you mean dispatch_variant?"));
}
