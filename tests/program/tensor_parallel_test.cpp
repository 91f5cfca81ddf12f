// Tensor parallelism: bytes and FLOPs of split blocks in closed form, and what must not change.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

const std::vector<std::string> dense_models{"llama3.1-8b", "llama2-70b", "gpt3-175b",
                                            "maxtext-dense-32b-2023"};

std::int64_t executed(const StepProgram& program) {
  std::int64_t flops = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr) return;
    for (const Matmul& p : work->matmuls) flops += 2 * p.count * p.m * p.k * p.n * times;
  });
  return flops;
}

Bytes category(const StepProgram& program, const std::string& name) {
  Bytes sum;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.category == name) sum += buffer.bytes;
  }
  return sum;
}

}  // namespace

TEST_CASE("a layer split over X devices sends four streams each way", "[program][tensor]") {
  // T tokens of D columns enter attention and MLP by an all-gather and leave them by a
  // reduce-scatter: 2 + 2 collectives of T D elements forward, their transposes backward, and 3
  // more where the layer is computed again (the last one, x_mid + mlp(x), is dead code). Embedding
  // and head have one each. One device sends (X - 1) / X of each.
  for (const std::string& model : dense_models) {
    for (const bool remat : {false, true}) {
      const Plan plan = plan_of(job(model, "v5p-128",
                                    {"ici_tensor_parallelism=4", "ici_fsdp_parallelism=16",
                                     std::string("remat_policy=") + (remat ? "full" : "none")}));
      const std::int64_t L = plan.model.num_layers();
      // 64 devices with a sequence each: 4 sequences on each group of 4.
      const std::int64_t T = 4 * 2048;
      const std::int64_t stream = T * plan.model.emb_dim * 2 / 4 * 3;
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        INFO(model << " " << remat << " " << name(prefetch));
        const StepProgram program = lower(plan, prefetch);
        auto forward = sent(program, Pass::forward);
        auto backward = sent(program, Pass::backward);
        auto again = sent(program, Pass::recompute);
        CHECK(forward["enter_block"] == (2 * L + 1) * stream);
        CHECK(forward["leave_block"] == (2 * L + 1) * stream);
        CHECK(backward["enter_block_back"] == (2 * L + 1) * stream);
        CHECK(backward["leave_block_back"] == (2 * L + 1) * stream);
        CHECK(again["enter_block"] == (remat ? 2 * L * stream : 0));
        CHECK(again["leave_block"] == (remat ? L * stream : 0));
        // An all-reduce sends 2 (X - 1) / X of one fp32 number per token and norm.
        const std::int64_t sums = T * 4 * 2 * 3 / 4;
        CHECK(forward["attention_norm_sums"] == L * sums);
        CHECK(backward["attention_norm_sums_back"] == L * sums);
        CHECK(forward["loss_sums"] == 3 * sums);
      }
    }
  }
}

TEST_CASE("FLOPs of all devices are the model's, however it is split", "[program][tensor]") {
  for (const std::string& model : dense_models) {
    const Plan whole = plan_of(job(model, "v5p-128"));
    const std::int64_t S = whole.training.sequence_length;
    const FlopCount step =
        model_flops(op_groups(whole.model, {S})).train * whole.training.global_batch;
    const std::int64_t unsplit = executed(lower(whole, Prefetch::layer));
    for (const Words& split :
         {Words{"ici_tensor_parallelism=4"}, Words{"ici_tensor_sequence_parallelism=4"},
          Words{"ici_tensor_parallelism=2", "ici_tensor_sequence_parallelism=2",
                "allow_split_physical_axes=true"}}) {
      INFO(model << " " << split.front());
      Words more = split;
      more.emplace_back("ici_fsdp_parallelism=-1");
      const Plan plan = plan_of(job(model, "v5p-128", more));
      REQUIRE(!not_lowered(plan));
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        const StepProgram program = lower(plan, prefetch);
        CHECK(program.model_flops * plan.devices() == step);
        CHECK(program.tokens == 2048);
        // Every product splits evenly, so that not even what is executed changes.
        CHECK(executed(program) == unsplit);
      }
    }
  }
}

TEST_CASE("every collective of a pass has its transpose in the other", "[program][tensor]") {
  // The gradient of an all-gather is a reduce-scatter of as many bytes, and the other way round;
  // that of a sum that all devices need is a sum.
  const StepProgram program = lower(
      plan_of(job("llama3.1-8b", "v5p-128",
                  {"ici_tensor_parallelism=4", "ici_fsdp_parallelism=16", "remat_policy=none"})),
      Prefetch::layer);
  std::map<CollectiveKind, std::int64_t> bytes[2];
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work == nullptr || work->mesh_axes != Words{"tensor"} || leaf.name == "loss_sums") return;
    bytes[leaf.pass == Pass::backward ? 1 : 0][work->kind] += work->payload.value() * times;
  });
  CHECK(bytes[0].size() == 3);
  CHECK(bytes[0][CollectiveKind::all_gather] == bytes[1][CollectiveKind::reduce_scatter]);
  CHECK(bytes[0][CollectiveKind::reduce_scatter] == bytes[1][CollectiveKind::all_gather]);
  CHECK(bytes[0][CollectiveKind::all_reduce] == bytes[1][CollectiveKind::all_reduce]);
}

TEST_CASE("split weights stay split: no gather, no reduction over the tensor axes",
          "[program][tensor]") {
  for (const std::string& model : dense_models) {
    for (const char* axis : {"tensor", "tensor_sequence"}) {
      INFO(model << " " << axis);
      const Plan plan =
          plan_of(job(model, "v5p-128",
                      {std::string("ici_") + axis + "_parallelism=4", "ici_fsdp_parallelism=16"}));
      std::set<std::string> over;
      for_each_leaf(lower(plan, Prefetch::layer).root, [&](const Leaf& leaf, std::int64_t) {
        const auto* work = std::get_if<Collective>(&leaf.work);
        if (work == nullptr) return;
        for (const std::string& a : work->mesh_axes) {
          if (a == axis) over.insert(leaf.name);
        }
      });
      CHECK(!over.contains("gather_weights"));
      CHECK(!over.contains("scatter_gradients"));
      // The scales of norms are split like the columns of the streams; where their rows are split
      // instead, each device has the gradient of its own rows.
      CHECK(over.contains("reduce_gradients") == (std::string(axis) == "tensor_sequence"));
    }
  }
}

TEST_CASE("rows or columns: as many bytes, as much memory", "[program][tensor]") {
  // Splitting the streams by tokens instead of columns moves and holds the same bytes; only the
  // norms differ, which are whole then: no sums, and their scales on every device.
  for (const std::string& model : dense_models) {
    INFO(model);
    const auto lowered = [&](const std::string& axis) {
      return lower(plan_of(job(model, "v5p-128",
                               {"ici_" + axis + "_parallelism=4", "ici_fsdp_parallelism=16"})),
                   Prefetch::layer);
    };
    const StepProgram columns = lowered("tensor");
    const StepProgram rows = lowered("tensor_sequence");
    for (const Pass pass : {Pass::forward, Pass::recompute, Pass::backward}) {
      for (const auto& [name, bytes] : sent(rows, pass)) {
        if (name != "reduce_gradients") CHECK(sent(columns, pass)[name] == bytes);
      }
    }
    CHECK(category(rows, "carries") == category(columns, "carries"));
    CHECK(category(rows, "gathered_weights") == category(columns, "gathered_weights"));
    CHECK(memory_peak(rows).temp.value() ==
          Approx(static_cast<double>(memory_peak(columns).temp.value())).epsilon(0.001));
  }
}

TEST_CASE("more tensor never needs more weight memory", "[program][tensor]") {
  for (const std::string& model : dense_models) {
    std::map<std::string, Bytes> before;
    for (const char* degree : {"1", "2", "4", "8"}) {
      INFO(model << " " << degree);
      const StepProgram program =
          lower(plan_of(job(model, "v5p-128",
                            {std::string("ici_tensor_parallelism=") + degree,
                             "ici_fsdp_parallelism=-1", "allow_split_physical_axes=true"})),
                Prefetch::layer);
      for (const char* name : {"gathered_weights", "local_gradients", "gradients"}) {
        const Bytes bytes = category(program, name);
        if (before.contains(name)) CHECK(bytes <= before[name]);
        before[name] = bytes;
      }
    }
  }
}
