// Which plans a space has, and in which order.
#include <catch2/catch.hpp>
#include <set>

#include "studies/sweep/enumeration.hpp"
#include "tests/refusal.hpp"
#include "tests/studies/spaces.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

std::vector<std::string> plans_of(const SweepSpace& space) {
  std::vector<std::string> plans;
  for (Enumeration plans_of_space(space); plans_of_space.next();)
    plans.push_back(change_text(change_of(space, plans_of_space.choice())));
  return plans;
}

}  // namespace

TEST_CASE("the last axis varies fastest", "[studies][enumeration]") {
  const SweepSpace space =
      llama_space("axes:\n  remat_policy: [full, none]\n  gradient_accumulation_steps: [1, 2]\n");
  CHECK(plans_of(space) ==
        std::vector<std::string>{"remat_policy=full gradient_accumulation_steps=1",
                                 "remat_policy=full gradient_accumulation_steps=2",
                                 "remat_policy=none gradient_accumulation_steps=1",
                                 "remat_policy=none gradient_accumulation_steps=2"});
}

TEST_CASE("rules of an axis", "[studies][enumeration]") {
  CHECK(
      plans_of(llama_space("axes: {num_vocab_tiling: {powers_of_two: [3, 16]}}")) ==
      std::vector<std::string>{"num_vocab_tiling=4", "num_vocab_tiling=8", "num_vocab_tiling=16"});
  // 12 = 1 x 12 = 2 x 6 = 3 x 4
  CHECK(plans_of(llama_space("axes: {num_vocab_tiling: {divisors_of: 12}}")) ==
        std::vector<std::string>{"num_vocab_tiling=1", "num_vocab_tiling=2", "num_vocab_tiling=3",
                                 "num_vocab_tiling=4", "num_vocab_tiling=6",
                                 "num_vocab_tiling=12"});
  CHECK(plans_of(llama_space("axes:\n  kind:\n    - {remat_policy: none}\n"
                             "    - {remat_policy: full, num_vocab_tiling: 2}\n")) ==
        std::vector<std::string>{"remat_policy=none", "remat_policy=full num_vocab_tiling=2"});
}

TEST_CASE("a space without axes is its base", "[studies][enumeration]") {
  CHECK(plans_of(llama_space("")) == std::vector<std::string>{""});
  CHECK(plans_of(llama_space("where: 1 == 2")).empty());
}

TEST_CASE("conditions see chips, the base and what MaxText leaves out", "[studies][enumeration]") {
  const std::string axes =
      "axes:\n  compile_topology: [v5p-16, v5p-32, v6e-16]\n"
      "  ici_fsdp_parallelism: {powers_of_two: [1, 64]}\n";
  // v5p-N has N/2 chips, v6e-N has N.
  CHECK(plans_of(llama_space(axes + "where: ici_fsdp_parallelism == chips")) ==
        std::vector<std::string>{"compile_topology=v5p-16 ici_fsdp_parallelism=8",
                                 "compile_topology=v5p-32 ici_fsdp_parallelism=16",
                                 "compile_topology=v6e-16 ici_fsdp_parallelism=16"});
  CHECK(plans_of(llama_space(axes + "where: [per_device_batch_size == 2]")).empty());
  CHECK(plans_of(llama_space(axes + "where: [num_vocab_tiling == 1]")).size() == 3 * 7);
  CHECK(plans_of(llama_space("axes: {compile_topology_num_slices: [1, 2, 4], "
                             "compile_topology: [v5p-16]}\nwhere: chips == 16 and slices == 2")) ==
        std::vector<std::string>{"compile_topology_num_slices=2 compile_topology=v5p-16"});
}

TEST_CASE("skipping early finds what the whole product holds", "[studies][enumeration]") {
  const SweepSpace all = llama_space(
      "axes: {per_device_batch_size: [1, 2, 4], compile_topology: [v5p-16, v5p-32], "
      "ici_fsdp_parallelism: {powers_of_two: [1, 16]}, ici_tensor_parallelism: {powers_of_two: "
      "[1, 16]}}");
  const SweepSpace some = llama_space(
      "axes: {per_device_batch_size: [1, 2, 4], compile_topology: [v5p-16, v5p-32], "
      "ici_fsdp_parallelism: {powers_of_two: [1, 16]}, ici_tensor_parallelism: {powers_of_two: "
      "[1, 16]}}\nwhere: [ici_fsdp_parallelism * ici_tensor_parallelism == chips, "
      "per_device_batch_size * ici_tensor_parallelism <= 8]");
  std::vector<std::string> expected;
  for (Enumeration plans(all); plans.next();) {
    const Choice& choice = plans.choice();
    const std::int64_t batch = std::int64_t{1} << choice[0];
    const std::int64_t chips = std::int64_t{8} << choice[1];
    const std::int64_t fsdp = std::int64_t{1} << choice[2];
    const std::int64_t tensor = std::int64_t{1} << choice[3];
    CHECK(plans.machine().chips == chips);
    if (fsdp * tensor == chips && batch * tensor <= 8)
      expected.push_back(change_text(change_of(all, choice)));
  }
  CHECK(plans_of(some) == expected);
  CHECK(expected.size() > 10);
}

TEST_CASE("plans are counted without walking what no condition reads", "[studies][enumeration]") {
  const auto count = [&](const std::string& text) {
    const SweepSpace space = llama_space(text);
    return Enumeration(space).count();
  };
  const std::string axes =
      "axes: {compile_topology: [v5p-16, v5p-32], ici_fsdp_parallelism: {powers_of_two: [1, 16]}, "
      "num_vocab_tiling: [1, 2, 4], remat_policy: [full, minimal]}\n";
  for (const std::string where :
       {"", "where: ici_fsdp_parallelism == chips", "where: num_vocab_tiling < 4",
        "where: remat_policy == 'full' or num_vocab_tiling * ici_fsdp_parallelism > chips",
        "where: 1 == 2", "where: chips > 1000"}) {
    INFO(where);
    CHECK(count(axes + where) ==
          static_cast<std::int64_t>(plans_of(llama_space(axes + where)).size()));
  }
  CHECK(count("") == 1);
  // 8 chips and 16: 3 x 1,000 x 1,000 x 1,000 each.
  std::string numbers = "1";
  for (int i = 2; i <= 1000; ++i) numbers += ", " + std::to_string(i);
  std::string huge = "axes:\n  compile_topology: [v5p-16, v5p-32]\n  num_vocab_tiling: [1, 2, 4]\n";
  for (const char* key : {"max_target_length", "steps", "log_period"})
    huge += "  " + std::string(key) + ": [" + numbers + "]\n";
  CHECK(count(huge + "where: chips == 8") == 3'000'000'000);
  CHECK(count(huge) == 6'000'000'000);
  // Where it has to walk, it can be stopped.
  int asked = 0;
  const SweepSpace walked = llama_space(huge + "where: steps * log_period * max_target_length > 1");
  Enumeration plans(walked);
  plans.stop_when([&] { return ++asked == 3; });
  CHECK(!plans.count());
  // Also where it finds nothing for long.
  const SweepSpace few =
      llama_space(huge + "where: steps * log_period * max_target_length == 1000 * 1000 * 1000");
  Enumeration none(few);
  none.stop_when([&] { return ++asked > 5; });
  CHECK(!none.next());
}

TEST_CASE("faults of a space are found together, with their places", "[studies][space]") {
  const Error error = refusal([] {
    space_of(
        "base: {model_name: llama3.1-8b, remat_polcy: full}\n"  // 1: unknown key
        "axes:\n"
        "  compile_topology: [v5p-500]\n"          // 3: no such slice
        "  num_vocab_tiling: [1, x]\n"             // 4: not an integer
        "  ici_fsdp_parallelism: []\n"             // 5: nothing to choose from
        "  num_slices: {powers_of_two: [5, 7]}\n"  // 6: no power of two there
        "where: chips === 4\n"                     // 7: malformed
        "more: 1\n");                              // 8: no part of a space
  });
  std::set<int> lines;
  for (const Diagnostic& fault : error.diagnostics()) lines.insert(fault.where.line);
  CHECK(lines == std::set<int>{1, 3, 4, 5, 6, 7, 8});
  // One key on two axes: neither can win.
  CHECK(refusal([] {
          llama_space("axes:\n  remat_policy: [full]\n  kind:\n    - {remat_policy: none}\n");
        }).kind() == ErrorKind::invalid_input);
  // A base that no plan could have is refused at its line.
  const SweepSpace bad = space_of("base:\n  model_name: llama3.1-9b\naxes: {remat_policy: [full]}");
  CHECK(refusal([&] { const Enumeration plans(bad); }).diagnostics().front().where.line == 2);
}
