#include <catch2/catch.hpp>
#include <set>

#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

std::set<std::string> quantised(const std::string& model, const std::string& as = "int8") {
  const StepProgram program =
      lower(plan_of(job(model, "v5p-16", {"quantization=" + as})), Prefetch::layer);
  const NumberFormat format = as == "int8" ? NumberFormat::int8 : NumberFormat::fp8;
  std::set<std::string> names;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || work->matmuls.empty()) return;
    INFO(leaf.layer_kind << " " << leaf.name);
    const bool own = leaf.layer_kind != "global" && !leaf.name.starts_with("core");
    CHECK(work->format == (own ? format : NumberFormat::bfloat16));
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

TEST_CASE("fp8 is for the same products as int8, and moves the same bytes", "[program][fp8]") {
  for (const char* model : {"llama3.1-8b", "mixtral-8x7b", "deepseek3-671b"}) {
    INFO(model);
    for (const char* format : {"fp8", "fp8_full"})
      CHECK(quantised(model, format) == quantised(model));
    const auto lowered = [&](const std::string& as) {
      return testing::sums_of(
          lower(plan_of(job(model, "v5p-16", {"quantization=" + as})), Prefetch::layer));
    };
    const testing::Sums eight = lowered("int8");
    const testing::Sums floating = lowered("fp8_full");
    CHECK(floating.sent == eight.sent);
    CHECK(floating.hbm == eight.hbm);
    CHECK(floating.executed.value() == eight.executed.value());
  }
}

TEST_CASE("the batch-split schedule trains in fp8_full", "[program][fp8]") {
  const Plan plan =
      plan_of(job("deepseek3-671b", "v5p-128",
                  {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
                   "use_batch_split_schedule=true", "quantization=fp8_full"}));
  REQUIRE(!not_lowered(plan));
  bool products = false;
  for_each_leaf(lower(plan, Prefetch::layer).root, [&](const Leaf& leaf, std::int64_t) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || !leaf.name.starts_with("gmm_")) return;
    CHECK(work->format == NumberFormat::fp8);
    products = true;
  });
  CHECK(products);
}

TEST_CASE("what is quantised otherwise is not lowered", "[program][int8]") {
  for (const char* format : {"int4", "te_mxfp8", "fp8_gpu"}) {
    CHECK(not_lowered(
              plan_of(job("llama3.1-8b", "v5p-16", {std::string("quantization=") + format}))) ==
          std::string("training in ") + format);
  }
}

}  // namespace
}  // namespace meshsim
