#include <catch2/catch.hpp>
#include <set>

#include "tests/program/jobs.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

TEST_CASE("int8 is for products with the layers' weights, in every pass", "[program][int8]") {
  const StepProgram program =
      lower(plan_of(job("llama3.1-8b", "v5p-16", {"quantization=int8"})), Prefetch::layer);
  std::set<std::string> quantised;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || work->matmuls.empty()) return;
    INFO(leaf.layer_kind << " " << leaf.name);
    const bool own = leaf.layer_kind != "global" && !leaf.name.starts_with("core");
    CHECK(work->format == (own ? NumberFormat::int8 : NumberFormat::bfloat16));
    if (own) quantised.insert(leaf.name);
  });
  for (const char* name : {"query", "key_value", "out", "mlp_up", "mlp_down"}) {
    for (const char* pass : {"", "_dx", "_dw"}) CHECK(quantised.contains(std::string(name) + pass));
  }
}

TEST_CASE("what is quantised otherwise is not lowered", "[program][int8]") {
  CHECK(not_lowered(plan_of(job("llama3.1-8b", "v5p-16", {"quantization=fp8"}))) ==
        "training in fp8");
  CHECK(not_lowered(plan_of(job("mixtral-8x7b", "v5p-16", {"quantization=int8"}))) ==
        "experts in int8");
}

}  // namespace
}  // namespace meshsim
