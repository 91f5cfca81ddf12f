#include "plans/logical_mesh.hpp"

#include <catch2/catch.hpp>

#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

LogicalMesh mesh(Words words, std::int64_t devices, std::int64_t slices = 1) {
  return resolve_mesh(config_of(std::move(words)), slices, devices);
}

std::string mesh_fault(Words words, std::int64_t devices, std::int64_t slices = 1) {
  const Error error = refusal([&] { mesh(std::move(words), devices, slices); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

}  // namespace

TEST_CASE("MaxText's twelve axes, FSDP over what is left", "[plans][mesh]") {
  const LogicalMesh m = mesh({}, 256);
  REQUIRE(m.axes.size() == 12);
  CHECK(m.axes.front().name == "diloco");
  CHECK(m.axes.back().name == "autoregressive");
  CHECK(m.size("fsdp") == 256);
  CHECK(m.size("sequence") == 1);  // an axis that the mesh does not have
  CHECK(m.devices() == 256);
  CHECK(m.ici_degrees() == std::vector<std::int64_t>{1, 1, 1, 256, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST_CASE("-1 is what the other degrees leave", "[plans][mesh]") {
  // 256 = 4 x 8 x 8
  CHECK(mesh({"ici_expert_parallelism=4", "ici_tensor_parallelism=8"}, 256).size("fsdp") == 8);
  const LogicalMesh experts = mesh({"ici_fsdp_parallelism=32", "ici_expert_parallelism=-1"}, 256);
  CHECK(experts.size("expert") == 8);
  CHECK(mesh({"ici_fsdp_parallelism=256", "ici_data_parallelism=-1"}, 256).size("data") == 1);
  // Without any -1 the product must be all devices.
  CHECK(mesh({"ici_fsdp_parallelism=64", "ici_pipeline_parallelism=4"}, 256).size("stage") == 4);
}

TEST_CASE("across slices the data axis takes what is left", "[plans][mesh]") {
  const LogicalMesh m = mesh({}, 256, 4);
  CHECK(m.size("data") == 4);
  CHECK(m.devices() == 256 * 4);
  const LogicalMesh both = mesh({"dcn_fsdp_parallelism=2"}, 256, 4);
  CHECK(both.size("fsdp") == 2 * 256);
  CHECK(both.size("data") == 2);
}

TEST_CASE("only one degree of a network can be what is left", "[plans][mesh]") {
  // ici_fsdp_parallelism is -1 by default.
  CHECK_THAT(mesh_fault({"ici_data_parallelism=-1"}, 256),
             Contains("<command line>:1: error: ici_data_parallelism: ici_fsdp_parallelism is -1 "
                      "as well") &&
                 Contains("hint: set one of the two, for example ici_fsdp_parallelism=1"));
  CHECK_THAT(mesh_fault({"dcn_expert_parallelism=-1"}, 256, 2),
             Contains("dcn_expert_parallelism: dcn_data_parallelism is -1 as well"));
}

TEST_CASE("a product that is not the number of devices names its factors and what is legal",
          "[plans][mesh]") {
  CHECK_THAT(mesh_fault({"ici_fsdp_parallelism=16", "ici_expert_parallelism=8"}, 256),
             Contains("ici_fsdp_parallelism: the product of the ici degrees is 128 "
                      "(ici_expert_parallelism=8 x ici_fsdp_parallelism=16), not the 256 devices "
                      "of a slice") ||
                 Contains("ici_fsdp_parallelism: the product of the ici degrees is 128 "
                          "(ici_fsdp_parallelism=16 x ici_expert_parallelism=8), not the 256 "
                          "devices of a slice"));
  // 256 / 8 = 32
  CHECK_THAT(mesh_fault({"ici_fsdp_parallelism=16", "ici_expert_parallelism=8"}, 256),
             Contains("hint: ici_fsdp_parallelism=32 gives 256; -1 stands for what is left"));
  // No value of the largest degree helps: 3 does not divide 256.
  CHECK_THAT(
      mesh_fault({"ici_fsdp_parallelism=64", "ici_expert_parallelism=3"}, 256),
      Contains("the other degrees multiply to 3, which does not divide 256: nearest 2 or 4"));
  // -1 would not be an integer.
  CHECK_THAT(mesh_fault({"ici_tensor_parallelism=12"}, 256),
             Contains("ici_tensor_parallelism: the ici degrees (ici_tensor_parallelism=12 = 12) do "
                      "not divide the 256 devices of a slice") &&
                 Contains("their product must divide 256: nearest 8 or 16"));
  CHECK_THAT(mesh_fault({"ici_tensor_parallelism=512"}, 256), Contains("nearest 256"));
}

TEST_CASE("DCN degrees must match the slices", "[plans][mesh]") {
  CHECK_THAT(mesh_fault({"dcn_data_parallelism=2"}, 256),
             Contains("dcn_data_parallelism: is 2, but there is one slice") &&
                 Contains("hint: compile_topology_num_slices=2, or dcn_data_parallelism=1"));
  CHECK_THAT(mesh_fault({"dcn_data_parallelism=3"}, 256, 4),
             Contains("the product of the dcn degrees is 3 (dcn_data_parallelism=3), not the 4 "
                      "slices") &&
                 Contains("hint: dcn_data_parallelism=4 gives 4"));
}

TEST_CASE("sequence parallelism has a key and no axis", "[plans][mesh]") {
  CHECK_THAT(mesh_fault({"ici_sequence_parallelism=2"}, 256),
             Contains("ici_sequence_parallelism: must be 1: no mesh axis carries it (got 2)") &&
                 Contains("ici_context_parallelism or ici_tensor_sequence_parallelism"));
  CHECK_NOTHROW(mesh({"ici_sequence_parallelism=1"}, 256));
  CHECK_THAT(mesh_fault({"dcn_sequence_parallelism=2"}, 256, 2),
             Contains("dcn_sequence_parallelism"));
}

TEST_CASE("mesh_axes of one's own", "[plans][mesh]") {
  const LogicalMesh m = mesh({"mesh_axes=[fsdp, tensor]", "ici_tensor_parallelism=4"}, 256);
  CHECK(m.axes.size() == 2);
  CHECK(m.size("fsdp") == 64);
  CHECK_THAT(mesh_fault({"mesh_axes=[fsdp, tensr]"}, 256),
             Contains("mesh_axes: 'tensr' is not an axis that has a degree\n"
                      "  hint: did you mean tensor"));
  CHECK_THAT(mesh_fault({"mesh_axes=[fsdp, fsdp]"}, 256),
             Contains("mesh_axes: names 'fsdp' twice"));
  CHECK_THAT(mesh_fault({"mesh_axes=[fsdp]", "ici_expert_parallelism=2"}, 256),
             Contains("ici_expert_parallelism: must be 1: no mesh axis carries it (got 2)"));
  CHECK_THAT(mesh_fault({"mesh_axes=[]"}, 256), Contains("mesh_axes: must name at least one axis"));
}

TEST_CASE("degrees whose product overflows are refused", "[plans][mesh]") {
  // 1048576^4 = 2^80
  Words words;
  for (const char* axis : {"data", "fsdp", "tensor", "expert"}) {
    words.push_back(std::string("ici_") + axis + "_parallelism=1048576");
  }
  CHECK_THAT(mesh_fault(words, 256),
             Contains("the product of the ici degrees") && Contains("exceeds"));
}

TEST_CASE("the resolved configuration shows what a -1 came to", "[plans][mesh]") {
  const Plan plan = plan_of(flash({"ici_expert_parallelism=8"}));
  CHECK(plan.config.integer("ici_fsdp_parallelism") == 256 / 8);
  CHECK(plan.config.integer("dcn_data_parallelism") == 1);
  CHECK(plan.config.at("ici_fsdp_parallelism").origin == Origin::builtin);
}

TEST_CASE("a mesh that does not lie on the torus is refused by name", "[plans][mesh]") {
  // 8 x 32 on 4x8x8: 32 = 4 x 8 and 8 = 8 fit; 2 does not fill any axis.
  CHECK_NOTHROW(plan_of(flash({"ici_expert_parallelism=8"})));
  const Words split = flash({"ici_expert_parallelism=2"});
  const Error error = refusal([&] { plan_of(split); });
  CHECK_THAT(error.what(), Contains("fsdp=128, expert=2") && Contains("4x8x8 torus"));
  Words allowed = split;
  allowed.emplace_back("allow_split_physical_axes=true");
  CHECK(plan_of(allowed).mesh.size("expert") == 2);
}
