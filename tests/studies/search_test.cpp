// The answers of a search beside every plan of its space, written out by hand and evaluated from
// nothing.
#include "studies/search.hpp"

#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "sim/evaluation.hpp"
#include "studies/sweep/sweep.hpp"
#include "topologies/slice.hpp"
#include "units/error.hpp"

using namespace meshsim;

namespace {

using Choices = std::vector<Change>;

Choices each_of(const char* key, std::initializer_list<const char*> values) {
  Choices all;
  for (const char* value : values) all.push_back({{key, value}});
  return all;
}

Choices product(const Choices& before, const Choices& after) {
  Choices all;
  for (const Change& first : before) {
    for (const Change& second : after) {
      all.push_back(first);
      all.back().insert(all.back().end(), second.begin(), second.end());
    }
  }
  return all;
}

Choices slices() {
  Choices all;
  for (const Slice& slice : named_slices()) {
    std::int64_t chips = slice.chips();
    while (chips % 2 == 0) chips /= 2;
    if (slice.chip->name == "v5p" && chips == 1) all.push_back({{"compile_topology", slice.name}});
  }
  return all;
}

// Those of a mixture of 8 experts on so many chips, or of a dense model; with every way to reach
// the experts.
Choices meshes(bool experts, std::int64_t chips) {
  Choices all;
  for (std::int64_t expert = 1; expert <= (experts ? 8 : 1); expert *= 2) {
    for (std::int64_t context = 1; context <= 8; context *= 2) {
      for (std::int64_t tensor = 1; tensor <= (experts ? 1 : 8); tensor *= 2) {
        if (chips % (expert * context * tensor) != 0) continue;
        const Change mesh{{"ici_fsdp_parallelism", "-1"},
                          {"ici_expert_parallelism", std::to_string(expert)},
                          {"ici_context_parallelism", std::to_string(context)},
                          {"ici_tensor_parallelism", std::to_string(tensor)},
                          {"allow_split_physical_axes", "true"}};
        Choices ways{{}};
        if (experts) ways = {{{"use_ring_of_experts", "false"}}};
        if (expert > 1) {
          ways.push_back({{"use_ring_of_experts", "true"}});
          for (const char* chunks : {"2", "4"}) {
            ways.push_back({{"use_ring_of_experts", "true"}, {"num_moe_token_chunks", chunks}});
            ways.push_back({{"use_ring_of_experts", "true"},
                            {"num_moe_emb_chunks", chunks},
                            {"use_gmm_v2", "true"},
                            {"use_tokamax_gmm", "true"}});
          }
        }
        for (const Change& one : product({mesh}, ways)) all.push_back(one);
      }
    }
  }
  return all;
}

struct Found {
  double per_chip = 0;  // tokens per chip-second
  std::int64_t chips = 0;
  Picoseconds time;
};

struct Answers {
  std::int64_t plans = 0;
  std::optional<Found> fastest, smallest;
};

Answers exhaustive(const PlanRequest& request, const Choices& choices) {
  Answers answers;
  for (const Change& change : choices) {
    ++answers.plans;
    std::optional<Plan> plan;
    try {
      plan = make_plan(changed(request, change));
    } catch (const Error&) {
      continue;  // refused
    }
    const Evaluation result = evaluate(*plan, Fidelity::closed_form);
    if (!result.step || result.verdict() != Verdict::fits) continue;
    if (result.fits_probability().value_or(1) < 0.95) continue;
    const Found found{result.step->tokens_per_s_per_device, plan->devices(),
                      result.step->timeline.total};
    if (!answers.fastest || found.per_chip > answers.fastest->per_chip) answers.fastest = found;
    if (!answers.smallest || found.chips < answers.smallest->chips ||
        (found.chips == answers.smallest->chips && found.per_chip > answers.smallest->per_chip))
      answers.smallest = found;
  }
  return answers;
}

void check_same(const std::optional<SweepRow>& row, const std::optional<Found>& expected) {
  REQUIRE(row.has_value() == expected.has_value());
  if (!row) return;
  CHECK(row->chips == expected->chips);
  CHECK(row->outcome.tokens_per_s_per_device == expected->per_chip);
  CHECK(row->outcome.step_time == expected->time);
}

}  // namespace

TEST_CASE("a search misses no better plan than the whole of its space holds", "[studies][search]") {
  std::mt19937 random(8);
  const auto pick = [&](std::initializer_list<const char*> choices) {
    return std::string(choices.begin()[random() % choices.size()]);
  };
  int answered = 0;
  for (int round = 0; round < 6; ++round) {
    const bool experts = round % 2 == 0, one_slice = round % 3 != 0;
    PlanRequest request;
    const std::string policy = pick({"full", "save_out_proj"});
    const std::string length = pick({"1024", "4096"});
    request.assignments = {experts ? "model_name=mixtral-8x7b" : "model_name=llama3.1-8b",
                           "attention=flash", "remat_policy=" + policy,
                           "max_target_length=" + length};
    Choices choices{{}};
    if (one_slice) {
      // v5p-8 has 4 chips, v5p-32 has 16.
      const bool small = random() % 2 == 0;
      request.assignments.push_back(small ? "compile_topology=v5p-8" : "compile_topology=v5p-32");
      request.assignments.push_back("per_device_batch_size=" + pick({"1", "2", "4"}));
      choices = meshes(experts, small ? 4 : 16);
    } else {
      request.assignments.push_back("ici_fsdp_parallelism=-1");
      if (experts) request.assignments.push_back("use_ring_of_experts=false");
      choices = product(slices(), each_of("per_device_batch_size", {"1", "2", "4", "8", "16"}));
    }
    const SweepSpace space = search_space(request);
    SweepHooks hooks;
    hooks.write = [](std::string_view) {};
    const SweepSummary summary = run_sweep(space, {}, hooks).summary;
    const Answers expected = exhaustive(request, choices);
    INFO(command_of(request, "search"));
    CHECK(summary.plans == expected.plans);
    check_same(summary.fastest, expected.fastest);
    check_same(summary.smallest, expected.smallest);
    answered += summary.fastest ? 1 : 0;
  }
  CHECK(answered >= 4);  // it is not tested on nothing
}
