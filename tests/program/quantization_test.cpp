#include <catch2/catch.hpp>
#include <set>

#include "tests/program/jobs.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

std::set<std::string> quantised(const std::string& model) {
  const StepProgram program =
      lower(plan_of(job(model, "v5p-16", {"quantization=int8"})), Prefetch::layer);
  std::set<std::string> names;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || work->matmuls.empty()) return;
    INFO(leaf.layer_kind << " " << leaf.name);
    const bool own = leaf.layer_kind != "global" && !leaf.name.starts_with("core");
    CHECK(work->format == (own ? NumberFormat::int8 : NumberFormat::bfloat16));
    if (own) names.insert(leaf.name);
  });
  return names;
}

TEST_CASE("int8 is for products with the layers' weights, in every pass", "[program][int8]") {
  const std::set<std::string> dense = quantised("llama3.1-8b");
  for (const char* name : {"query", "key_value", "out", "mlp_up", "mlp_down"}) {
    for (const char* pass : {"", "_dx", "_dw"}) CHECK(dense.contains(std::string(name) + pass));
  }
  const std::set<std::string> experts = quantised("mixtral-8x7b");
  for (const char* name : {"router", "gmm_up", "gmm_down"}) {
    for (const char* pass : {"", "_dx", "_dw"}) CHECK(experts.contains(std::string(name) + pass));
  }
}

TEST_CASE("what is quantised otherwise is not lowered", "[program][int8]") {
  CHECK(not_lowered(plan_of(job("llama3.1-8b", "v5p-16", {"quantization=fp8"}))) ==
        "training in fp8");
}

}  // namespace
}  // namespace meshsim
