#include "plans/software.hpp"

#include <catch2/catch.hpp>

#include "inputs/yaml.hpp"
#include "tests/plans/plan_request.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Software software(const char* features, const char* overlap = nullptr) {
  PlanRequest asked = request(llama());
  asked.own["software"] = parse_yaml({"<software>", features});
  if (overlap != nullptr) asked.own["overlap"] = parse_yaml({"<overlap>", overlap});
  return make_plan(asked).software;
}

}  // namespace

TEST_CASE("software features say who moves a collective", "[plans][software]") {
  // Nothing stated, or stated as off: the TensorCore, step by step.
  for (const char* off : {"{}", "{async_collective_fusion: false, sparsecore_offload: false}"}) {
    CHECK(software(off).all_gather == Mover::stepwise);
    CHECK(software(off).reduce_scatter == Mover::stepwise);
  }
  for (const char* on :
       {"{async_collective_fusion: true}", "{collective_fusion_all_gather: true}"}) {
    CHECK(software(on).all_gather == Mover::fused);
    CHECK(software(on).all_reduce == Mover::fused);
  }
  // Offload is per kind, and goes before fusion.
  const Software both =
      software("{async_collective_fusion: true, sparsecore_offload_all_reduce: true}");
  CHECK(both.all_gather == Mover::fused);
  CHECK(both.all_reduce == Mover::sparse_core);
  // The feature as a whole speaks for all kinds, unless one of them is stated.
  const Software whole =
      software("{sparsecore_offload: True, sparsecore_offload_all_gather: null}");
  CHECK(whole.all_gather == Mover::sparse_core);
  CHECK(whole.all_reduce == Mover::sparse_core);
  const Software one = software("{sparsecore_offload: true, sparsecore_offload_all_reduce: true}");
  CHECK(one.all_gather == Mover::stepwise);
  CHECK(one.all_reduce == Mover::sparse_core);
}

TEST_CASE("overlap is XLA's unless a bound is asked for", "[plans][software]") {
  CHECK(software("{}").overlap == Overlap::xla);
  CHECK(software("{}", "xla").overlap == Overlap::xla);
  CHECK(software("{}", "none").overlap == Overlap::none);
  CHECK(software("{}", "ideal").overlap == Overlap::ideal);
  CHECK_THROWS_WITH(software("{}", "perfect"), Catch::Contains("must be one of none, xla, ideal"));
}
