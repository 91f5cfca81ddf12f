#include "plans/sharding.hpp"

#include <catch2/catch.hpp>

#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

using Axes = std::vector<std::string>;
using Split = std::vector<Axes>;

// Fully general degrees: every axis that shards weights is > 1. 2^7 devices.
ShardingRules rules(Words words, std::int64_t devices = 128) {
  const ResolvedConfig config = config_of(std::move(words));
  return ShardingRules(config, resolve_mesh(config, 1, devices));
}

Split resolve(const ShardingRules& r, const Axes& logical) { return r.resolve(logical); }

std::string fault(Words words) {
  return refusal([&] { rules(std::move(words)); }).what();
}

}  // namespace

TEST_CASE("rules are taken in their order, a mesh axis once", "[plans][sharding]") {
  const ShardingRules fsdp = rules({});
  // wq_a: the rule of q_lora stands before that of embed, and takes fsdp.
  CHECK(resolve(fsdp, {"embed", "q_lora"}) == Split{{}, {"fsdp"}});
  CHECK(resolve(fsdp, {"q_lora", "q_heads", "kv"}) == Split{{"fsdp"}, {}, {}});
  CHECK(resolve(fsdp, {"vocab", "embed_vocab"}) == Split{{}, {"fsdp"}});
  // o_a_proj: no rule for o_groups and o_lora_up_proj, and no tensor degree: whole everywhere.
  CHECK(resolve(fsdp, {"o_groups", "q_heads", "o_lora_up_proj"}) == Split{{}, {}, {}});
  // The mHC alphas are laid out like activations: nothing but a tensor degree splits them.
  CHECK(resolve(fsdp, {"activation_embed", ""}) == Split{{}, {}});
}

TEST_CASE("an MLP is split over tensor and fsdp, whichever dimension comes first",
          "[plans][sharding]") {
  // mlp takes fsdp_transpose with the tensor axes, whatever its degree; embed falls back to its
  // second rule.
  CHECK(resolve(rules({}), {"embed", "mlp"}) == Split{{"fsdp"}, {}});
  const ShardingRules both =
      rules({"ici_fsdp_transpose_parallelism=4", "ici_tensor_parallelism=2"});
  CHECK(resolve(both, {"embed", "mlp"}) == Split{{"fsdp"}, {"fsdp_transpose", "tensor"}});
  CHECK(resolve(both, {"mlp", "embed"}) == Split{{"fsdp_transpose", "tensor"}, {"fsdp"}});
  CHECK(resolve(both, {"exp", "embed_moe", "mlp_moe"}) ==
        Split{{}, {"fsdp"}, {"fsdp_transpose", "tensor"}});
  CHECK(resolve(both, {"exp", "mlp_moe", "embed_moe"}) ==
        Split{{}, {"fsdp_transpose", "tensor"}, {"fsdp"}});
  CHECK(resolve(both, {"embed"}) == Split{{"fsdp", "fsdp_transpose"}});
}

TEST_CASE("expert parallelism splits experts and embed, not embed_moe", "[plans][sharding]") {
  const ShardingRules expert = rules({"ici_expert_parallelism=8"});
  CHECK(resolve(expert, {"exp", "embed_moe", "mlp_moe"}) == Split{{"expert"}, {"fsdp"}, {}});
  CHECK(resolve(expert, {"exp", "mlp_moe", "embed_moe"}) == Split{{"expert"}, {}, {"fsdp"}});
  CHECK(resolve(expert, {"embed", "kv"}) == Split{{"fsdp", "expert"}, {}});
  CHECK(resolve(expert, {"embed_moe", ""}) == Split{{"fsdp"}, {}});
}

TEST_CASE("what the other axes split", "[plans][sharding]") {
  const ShardingRules all = rules(
      {"ici_tensor_parallelism=2", "ici_context_parallelism=2", "ici_pipeline_parallelism=2"});
  CHECK(resolve(all, {"norm"}) == Split{{"tensor"}});
  CHECK(resolve(all, {"embed", "q_heads", "kv"}) == Split{{"fsdp", "context"}, {"tensor"}, {}});
  CHECK(resolve(all, {"heads", "kv", "embed"}) == Split{{"tensor"}, {}, {"fsdp", "context"}});
  CHECK(resolve(all, {"layers", "norm"}) == Split{{"stage"}, {"tensor"}});
  CHECK(resolve(all, {"o_groups", "q_heads", "o_lora_up_proj"}) == Split{{}, {"tensor"}, {}});
  for (const char* name : {"indexer_q", "indexer_weights", "scanned_blocks", "dense_layers", ""}) {
    CHECK(resolve(all, {name}) == Split{{}});
  }
  // The batch: sequences over data, stage, fsdp and expert; tokens over context.
  CHECK(resolve(all, {"activation_embed_and_logits_batch", "activation_norm_length"}) ==
        Split{{"stage", "fsdp"}, {"context"}});
}

TEST_CASE("the number of shards is the product of the degrees", "[plans][sharding]") {
  const ResolvedConfig config = config_of({"ici_tensor_parallelism=4"});
  const LogicalMesh mesh = resolve_mesh(config, 1, 64);
  CHECK(shards(mesh, Axes{"fsdp", "tensor"}) == 64);
  CHECK(shards(mesh, Axes{"tensor"}) == 4);
  CHECK(shards(mesh, Axes{}) == 1);
}

TEST_CASE("MoE kernels in each of MaxText's modes", "[plans][sharding]") {
  // wi [E, D, F] and wo [E, F, D] of the first layer, and how they are split.
  const auto kernels = [](Words words) {
    const Plan plan = plan_of(flash(std::move(words)));
    std::vector<Split> splits;
    for (const StoredTensor& stored :
         stored_tensors(plan.model, plan.layout, plan.scan_axis, plan.expert_axes)) {
      const std::string& name = stored.tensor.name;
      if (name == "decoder/layers_0/mlp/MoeBlock_0/wi_0" ||
          name == "decoder/layers_0/mlp/MoeBlock_0/wo") {
        splits.push_back(plan.rules.resolve(stored.tensor.axes));
      }
    }
    return splits;
  };
  using Kernels = std::vector<Split>;
  CHECK(kernels({}) == Kernels{{{}, {"fsdp"}, {}}, {{}, {}, {"fsdp"}}});
  CHECK(kernels({"ici_expert_parallelism=8"}) ==
        Kernels{{{"expert"}, {"fsdp"}, {}}, {{"expert"}, {}, {"fsdp"}}});
  // shard_exp_on_fsdp: E is split by fsdp in both.
  CHECK(kernels({"shard_exp_on_fsdp=true"}) == Kernels{{{"fsdp"}, {}, {}}, {{"fsdp"}, {}, {}}});
  // use_2d_fsdp_sharding: E starts on fsdp, and the two FSDP axes together split each kernel.
  const Kernels two_d = kernels({"use_2d_fsdp_sharding=true", "ici_fsdp_transpose_parallelism=8"});
  REQUIRE(two_d.size() == 2);
  for (const Split& split : two_d) {
    CHECK(split[0].front() == "fsdp");
    CHECK(split[0].size() + split[1].size() == 2);
    CHECK(split[2].empty());
  }
}

TEST_CASE("rules of one's own replace the default rules of the names they mention",
          "[plans][sharding]") {
  const ShardingRules merged = rules({"logical_axis_rules=[[embed, tensor], [o_groups, fsdp]]"});
  CHECK(resolve(merged, {"o_groups", "q_heads"}) == Split{{"fsdp"}, {}});
  CHECK(resolve(merged, {"embed"}) == Split{{}});              // tensor has degree 1
  CHECK(resolve(merged, {"embed_vocab"}) == Split{{"fsdp"}});  // untouched

  const ShardingRules alone =
      rules({"logical_axis_rules=[[o_groups, fsdp]]", "override_logical_axis_rules=true"});
  CHECK(resolve(alone, {"o_groups", "embed_vocab"}) == Split{{"fsdp"}, {}});
  CHECK(resolve(alone, {"embed_vocab"}) == Split{{}});

  // The rule of a comes first and takes fsdp, so b falls back to its second rule, on whichever side
  // it stands.
  const ShardingRules order =
      rules({"logical_axis_rules=[[a, fsdp], [b, [fsdp, tensor]], [b, tensor]]",
             "ici_tensor_parallelism=2"});
  CHECK(resolve(order, {"b", "a"}) == Split{{"tensor"}, {"fsdp"}});
  CHECK(resolve(order, {"a", "b"}) == Split{{"fsdp"}, {"tensor"}});
  CHECK(resolve(rules({"logical_axis_rules=[[embed, null]]"}), {"embed"}) == Split{{}});
  CHECK(resolve(rules({"logical_axis_rules=[[embed, []]]"}), {"embed"}) == Split{{}});
}

TEST_CASE("a mesh of one's own needs rules of its own", "[plans][sharding]") {
  CHECK_THAT(fault({"mesh_axes=[fsdp]"}), Contains("hint: mesh_axes of your own need"));
  CHECK_NOTHROW(rules({"mesh_axes=[fsdp]", "override_logical_axis_rules=true",
                       "logical_axis_rules=[[embed, fsdp]]"}));
}

TEST_CASE("malformed rules", "[plans][sharding]") {
  for (const char* list : {"[embed]", "[[embed]]", "[[embed, fsdp, tensor]]", "[[]]",
                           "[[embed, {a: 1}]]", "[[embed, [[fsdp]]]]", "[[[embed], fsdp]]"}) {
    INFO(list);
    CHECK_THAT(fault({std::string("logical_axis_rules=") + list}),
               Contains("logical_axis_rules: a rule is [logical axis, mesh axes] (got "));
  }
  CHECK_THAT(fault({"logical_axis_rules=embed"}), Contains("must be a list (got 'embed')"));
  CHECK_THAT(fault({"logical_axis_rules=[[embed, fsdq]]"}),
             Contains("the rule of 'embed' names 'fsdq', which is not in mesh_axes\n"
                      "  hint: did you mean fsdp"));
  CHECK_THAT(fault({"logical_axis_rules=[[embed, [fsdp, fsdp]]]"}),
             Contains("the rule of 'embed' names 'fsdp' twice"));
}
