// FSDP traffic against the inventory: which tensors are gathered and reduced, how often, and to
// the byte how much.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// What one working copy of a tensor needs, straight from the sharding rules.
struct Expected {
  std::vector<std::string> gather, reduce;  // mesh axes
  std::int64_t elements = 1;                // of the working copy
  std::int64_t gather_group = 1;
};

Expected expected_of(const Plan& plan, const Tensor& tensor) {
  Expected expected;
  expected.elements = tensor.elements();
  std::set<std::string> resting;
  const auto sharding = plan.rules.resolve(tensor.axes);
  for (std::size_t i = 0; i < sharding.size(); ++i) {
    for (const std::string& axis : sharding[i]) {
      resting.insert(axis);
      if (tensor.axes[i] == "exp") {
        expected.elements /= plan.mesh.size(axis);  // experts stay where they are
        continue;
      }
      expected.gather.push_back(axis);
      expected.gather_group *= plan.mesh.size(axis);
    }
  }
  for (const char* axis : {"data", "fsdp", "fsdp_transpose", "expert"}) {
    if (plan.mesh.size(axis) > 1 && !resting.contains(axis)) expected.reduce.emplace_back(axis);
  }
  return expected;
}

// Stored by MaxText, used by no operation: the key and value projections that MLA inherits.
bool idle(const Tensor& tensor) { return tensor.trainable && !tensor.gradient; }
// The indexer chooses entries; no gradient comes back through a choice.
bool indexer(const Tensor& tensor) { return tensor.name.find("indexer") != std::string::npos; }

struct Use {
  Tensor tensor;
  Expected expected;
  bool remat = false;  // in a layer that runs again in the backward pass
  bool last = false;   // in the last layer of its block: nothing reads its output again
};

// One entry per layer that has the tensor, under the name that its buffers carry.
using PerTensor = std::map<std::string, std::vector<Use>>;

PerTensor inventory(const Plan& plan) {
  PerTensor all;
  for (const Segment& segment : plan.layout.segments) {
    // MaxText does not wrap DeepSeek-V4's unrolled layers.
    const bool remat = plan.config.text("remat_policy") == "full" &&
                       (segment.scanned || !plan.model.is_deepseek4());
    for (std::size_t i = 0; i < segment.block * segment.repeats; ++i) {
      const LayerKind& kind = plan.model.layer(segment.first + i);
      const std::string tag = attention_tag(kind) + "/" + mlp_tag(kind);
      for (const Tensor& tensor : state_tensors(plan.model, kind, plan.expert_axes))
        all[tag + " " + tensor.name].push_back(
            {tensor, expected_of(plan, tensor), remat, (i + 1) % segment.block == 0});
    }
  }
  for (const Tensor& tensor : global_tensors(plan.model))
    all["global " + tensor.name].push_back({tensor, expected_of(plan, tensor)});
  return all;
}

bool is_table(const std::string& name) {
  return name == "global token_embedder/embedding" ||
         name == "global decoder/position_embedder/embedding";
}

// How often `gather_weights` writes each copy in `pass`; checks payloads on the way.
std::map<std::string, std::int64_t> gathers(const Plan& plan, const StepProgram& program, Pass pass,
                                            const PerTensor& tensors) {
  std::map<std::string, std::int64_t> counts;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (leaf.name != "gather_weights" || leaf.pass != pass) return;
    const auto& work = std::get<Collective>(leaf.work);
    CHECK(work.kind == CollectiveKind::all_gather);
    std::int64_t elements = 0;
    for (const BufferId id : leaf.writes) {
      const Buffer& copy = buffer_of(program, id);
      const Expected& expected = tensors.at(copy.name).front().expected;
      CHECK(expected.gather == work.mesh_axes);
      CHECK(work.group == expected.gather_group);
      elements += expected.elements;
      counts[copy.name] += times;
    }
    CHECK(work.payload.value() == elements * element_bytes(plan.training.activations));
  });
  return counts;
}

std::map<std::string, std::int64_t> expected_gathers(const PerTensor& tensors, Pass pass,
                                                     bool tied) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& [name, layers] : tensors) {
    for (const auto& [tensor, expected, remat, last] : layers) {
      if (expected.gather.empty() || (idle(tensor) && !indexer(tensor))) continue;
      std::int64_t uses = 1;
      // The rows of a table are looked up forward only; a tied one also makes the logits. The
      // head's copy stays from its forward to its backward pass.
      if (pass == Pass::forward && tied && name == "global token_embedder/embedding") uses = 2;
      if (pass == Pass::backward && name.starts_with("global")) uses = 0;
      if (pass == Pass::backward && indexer(tensor) && !remat) uses = 0;
      if (uses > 0) counts[name] += uses;
    }
  }
  return counts;
}

void check_gathers(const Words& words) {
  INFO(words[0] + " " + words[1] + " " + words.back());
  const Plan plan = plan_of(words);
  REQUIRE(!not_lowered(plan));
  const PerTensor tensors = inventory(plan);
  const StepProgram program = lower(plan, Prefetch::layer);
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    INFO(name(pass));
    CHECK(gathers(plan, program, pass, tensors) ==
          expected_gathers(tensors, pass, plan.model.tied_embedding));
  }
  CHECK(gathers(plan, program, Pass::recompute, tensors).empty());
}

// Gradients: reduce-scattered over what shards the weight, all-reduced over the batch axes that do
// not, in the weights' dtype.
void check_reductions(const Words& words, Prefetch prefetch) {
  INFO(words[0] + " " + words[1] + " " + words.back() + " " + std::string(name(prefetch)));
  const Plan plan = plan_of(words);
  const StepProgram program = lower(plan, prefetch);
  const PerTensor tensors = inventory(plan);
  std::map<std::string, std::int64_t> scattered;
  std::map<std::string, std::int64_t> reduced;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const bool scatter = leaf.name == "scatter_gradients";
    if (!scatter && leaf.name != "reduce_gradients") return;
    const auto& work = std::get<Collective>(leaf.work);
    CHECK(work.kind == (scatter ? CollectiveKind::reduce_scatter : CollectiveKind::all_reduce));
    std::int64_t bytes = 0;
    for (const BufferId id : leaf.reads) {
      std::string key = buffer_of(program, id).name;
      key.erase(key.find(" d ") + 1, 2);
      const auto& [tensor, expected, remat, last] = tensors.at(key).front();
      CHECK(work.mesh_axes == (scatter ? expected.gather : expected.reduce));
      const std::int64_t all =
          expected.elements * element_bytes(tensor.dtype.value_or(plan.training.weights));
      bytes += scatter ? all : all / expected.gather_group;
      (scatter ? scattered : reduced)[key] += times;
    }
    CHECK(work.payload.value() == bytes);
  });
  std::map<std::string, std::int64_t> to_scatter;
  std::map<std::string, std::int64_t> to_reduce;
  for (const auto& [key, layers] : tensors) {
    for (const auto& [tensor, expected, remat, last] : layers) {
      if (!tensor.trainable || !tensor.gradient) continue;
      const bool twice = plan.model.tied_embedding && key == "global token_embedder/embedding";
      if (!expected.gather.empty()) to_scatter[key] += twice ? 2 : 1;
      if (!expected.reduce.empty()) to_reduce[key] += twice ? 2 : 1;
    }
  }
  CHECK(scattered == to_scatter);
  CHECK(reduced == to_reduce);
}

const std::vector<Words>& meshes() {
  static const std::vector<Words> all{
      {"ici_fsdp_parallelism=-1"},
      {"ici_data_parallelism=4", "ici_fsdp_parallelism=-1", "weight_dtype=bfloat16"},
      {"ici_fsdp_transpose_parallelism=4", "ici_fsdp_parallelism=-1"},
      {"weight_dtype=bfloat16", "remat_policy=none"},
      {"scan_layers=false"},
  };
  return all;
}

}  // namespace

TEST_CASE("a step gathers every sharded weight once forward and once backward",
          "[program][traffic]") {
  for (const std::string& model : lowering_models()) {
    for (const Words& mesh : meshes()) check_gathers(job(model, "v5p-32", mesh));
  }
}

TEST_CASE("a step reduces every gradient once", "[program][traffic]") {
  for (const std::string& model : lowering_models()) {
    for (const Words& mesh : meshes()) {
      check_reductions(job(model, "v5p-32", mesh), Prefetch::layer);
      check_reductions(job(model, "v5p-32", mesh), Prefetch::kernel);
    }
  }
}

TEST_CASE("FSDP x EP gathers and reduces the same tensors over other axes", "[program][traffic]") {
  for (const char* model : {"deepseek4-284b", "deepseek3-671b", "mixtral-8x7b", "gpt-oss-120b",
                            "qwen3-30b-a3b", "llama4-17b-16e"}) {
    for (const char* ring : {"false", "true"}) {
      const Words words = job(model, "v5p-128",
                              {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                               "mtp_num_layers=0", std::string("use_ring_of_experts=") + ring});
      if (std::string(model) == "deepseek4-284b" && std::string(ring) == "true") continue;
      check_gathers(words);
      check_reductions(words, Prefetch::layer);
      check_reductions(words, Prefetch::kernel);
    }
  }
}

TEST_CASE("V4's FSDP gathers leave out what the rules do not shard", "[program][traffic]") {
  const Plan plan = plan_of(flash());
  const PerTensor tensors = inventory(plan);
  const auto counts = gathers(plan, lower(plan, Prefetch::layer), Pass::forward, tensors);
  // 20 of the 21 CSA layers are routed by scores; 20 HCA; 2 sliding-window ones.
  CHECK(counts.at("csa/moe self_attention/wq_a/kernel") == 20);
  CHECK(counts.at("hca/moe self_attention/wq_a/kernel") == 20);
  CHECK(counts.at("swa/hash self_attention/wq_a/kernel") == 2);
  CHECK(counts.at("csa/hash self_attention/wq_a/kernel") == 1);
  for (const auto& [name, count] : counts) {
    INFO(name);
    CHECK(name.find("o_a_proj") == std::string::npos);
    CHECK(name.find("alpha") == std::string::npos);
    CHECK(name.find("norm") == std::string::npos);
    CHECK(name.find("tid2eid") == std::string::npos);
  }
  // Of one HCA layer, in bf16: attention 106,956,352 less o_a 33,554,432, q_norm 1024, kv_norm 512
  // and sinks 64; compressor 2 x 4096 x 512; MoE 6,468,665,344.
  const std::int64_t attention = 106'956'352 - 33'554'432 - 1024 - 512 - 64;
  const std::int64_t layer = attention + 2 * 4096 * 512 + 6'468'665'344;
  std::int64_t gathered = 0;
  for (const auto& [name, layers] : tensors) {
    if (name.starts_with("hca/moe") && counts.contains(name))
      gathered += layers.front().expected.elements;
  }
  CHECK(gathered == layer);
}

TEST_CASE("a kernel ahead, the backward pass gathers what the recomputation did not",
          "[program][traffic]") {
  for (const std::string& model : lowering_models()) {
    INFO(model);
    const Plan plan = plan_of(job(model, "v5p-32"));
    const PerTensor tensors = inventory(plan);
    const StepProgram program = lower(plan, Prefetch::kernel);
    const auto forward = gathers(plan, program, Pass::forward, tensors);
    CHECK(forward == expected_gathers(tensors, Pass::forward, plan.model.tied_embedding));
    const auto recompute = gathers(plan, program, Pass::recompute, tensors);
    const auto backward = gathers(plan, program, Pass::backward, tensors);
    // Where memory is short, the backward pass gathers all of it again.
    const StepProgram short_of_memory = lower(plan, Prefetch::use);
    CHECK(gathers(plan, short_of_memory, Pass::forward, tensors) == forward);
    CHECK(gathers(plan, short_of_memory, Pass::recompute, tensors) == recompute);
    const auto anew = gathers(plan, short_of_memory, Pass::backward, tensors);
    for (const auto& [name, layers] : tensors) {
      INFO(name);
      const auto& [tensor, expected, remat, last] = layers.front();
      if (expected.gather.empty() || (idle(tensor) && !indexer(tensor))) continue;
      const auto times = [&](const auto& map) {
        return map.contains(name) ? map.at(name) : std::int64_t{0};
      };
      const bool head = name == "global decoder/logits_dense/kernel" ||
                        (plan.model.tied_embedding && name == "global token_embedder/embedding");
      const auto count = static_cast<std::int64_t>(layers.size());
      // The last product of an MLP is dead code where only the residual sum reads its result.
      const bool summed = name.ends_with("wo/kernel") && !plan.model.hyper_connections;
      const auto again = std::count_if(layers.begin(), layers.end(), [&](const Use& use) {
        return use.remat && !(summed && use.last);
      });
      CHECK(times(recompute) == again);
      const bool idle_backward = is_table(name) || indexer(tensor);
      CHECK(times(backward) == (head ? 1 : idle_backward ? 0 : count - again));
      CHECK(times(anew) == (head ? 1 : idle_backward ? 0 : count));
    }
  }
}
