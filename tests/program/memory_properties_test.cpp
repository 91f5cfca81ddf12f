// What holds of the temporary memory of steps.
#include <catch2/catch.hpp>
#include <map>

#include "plans/state.hpp"
#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Bytes temp(const Words& words, Prefetch prefetch) {
  return memory_peak(lower(plan_of(words), prefetch)).temp;
}

const std::vector<std::string> some_models{"llama3.1-8b", "mixtral-8x7b", "deepseek4-284b",
                                           "qwen3-30b-a3b", "gpt-oss-20b"};

}  // namespace

TEST_CASE("categories sum to the temporary bytes", "[program][memory]") {
  for (const std::string& model : lowering_models()) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const StepProgram program = lower(plan_of(job(model, "v5p-16")), prefetch);
      const MemoryPeak peak = memory_peak(program);
      Bytes categories;
      for (const auto& [name, bytes] : peak.categories) categories += bytes;
      Bytes largest;
      for (const Buffer& buffer : peak.largest) largest += buffer.bytes;
      CHECK(categories == peak.temp);
      CHECK(largest == peak.temp);
      for (const MemoryPoint& point : live_memory(program)) CHECK(point.temp <= peak.temp);
    }
  }
}

TEST_CASE("a larger batch or a longer sequence never takes less", "[program][memory]") {
  for (const std::string& model : some_models) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      for (const char* policy : {"remat_policy=full", "remat_policy=none"}) {
        INFO(model << " " << name(prefetch) << " " << policy);
        Bytes before;
        for (const char* batch : {"1", "2", "3", "5"}) {
          const Bytes now =
              temp(job(model, "v5p-16", {policy, std::string("per_device_batch_size=") + batch}),
                   prefetch);
          CHECK(now >= before);
          before = now;
        }
        before = {};
        for (const char* length : {"256", "512", "1024", "2048"}) {
          const Bytes now = temp(
              job(model, "v5p-16", {policy, std::string("max_target_length=") + length}), prefetch);
          CHECK(now >= before);
          before = now;
        }
      }
    }
  }
}

TEST_CASE("more layers never take less", "[program][memory]") {
  for (const char* model : {"llama3.1-8b", "mixtral-8x7b", "qwen3-30b-a3b"}) {
    for (const char* policy : {"full", "none"}) {
      for (const char* scan : {"true", "false"}) {
        Bytes before;
        for (const char* layers : {"1", "2", "3", "4", "9"}) {
          INFO(model << " " << policy << " scan=" << scan << " " << layers);
          const Bytes now =
              temp(job(model, "v5p-16",
                       {std::string("base_num_decoder_layers=") + layers,
                        std::string("remat_policy=") + policy, std::string("scan_layers=") + scan}),
                   Prefetch::layer);
          CHECK(now >= before);
          before = now;
        }
      }
    }
  }
}

TEST_CASE("more FSDP at the same batch per device never takes more", "[program][memory]") {
  for (const std::string& model : some_models) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      Bytes before = temp(job(model, "v5p-8"), prefetch);
      for (const char* slice : {"v5p-16", "v5p-32", "v5p-64", "v5p-128"}) {
        INFO(model << " " << slice << " " << name(prefetch));
        const Bytes now = temp(job(model, slice), prefetch);
        CHECK(now <= before);
        before = now;
      }
    }
  }
}

TEST_CASE("recomputation and looking less far ahead save memory", "[program][memory]") {
  for (const std::string& model : some_models) {
    INFO(model);
    const Bytes full = temp(job(model, "v5p-16"), Prefetch::layer);
    CHECK(temp(job(model, "v5p-16"), Prefetch::kernel) < full);
    CHECK(temp(job(model, "v5p-16", {"remat_policy=none"}), Prefetch::layer) > full);
  }
}

TEST_CASE("a scan that keeps its residuals holds what unrolled layers hold", "[program][memory]") {
  // Per layer the same residuals; what is not one lasts as long as its layer in both. (A scan
  // reserves the stacked gradients of all its layers at once, so that they are left out.)
  for (const char* model : {"llama3.1-8b", "mixtral-8x7b"}) {
    const auto peak = [&](const char* scan) {
      const StepProgram program =
          lower(plan_of(job(model, "v5p-16",
                            {"base_num_decoder_layers=8", "remat_policy=none",
                             std::string("scan_layers=") + scan})),
                Prefetch::kernel);
      MemoryPeak at = memory_peak(program);
      for (const auto& [category, bytes] : at.categories) {
        if (category == "gradients") at.temp -= bytes;
      }
      return at.temp;
    };
    INFO(model);
    CHECK(peak("true") / peak("false") == Approx(1).epsilon(0.05));
  }
}

namespace {

// Calls visit(node) for every repeat of the tree.
template <class Visitor>
void for_each_repeat(const ProgramNode& node, Visitor&& visit) {
  if (node.kind == ProgramNode::Kind::repeat) visit(node);
  for (const ProgramNode& child : node.children) for_each_repeat(child, visit);
}

std::map<BufferId, int> touched(const ProgramNode& node) {
  std::map<BufferId, int> counts;
  for_each_leaf(node, [&](const Leaf& leaf, std::int64_t) {
    for (const BufferId id : leaf.reads) ++counts[id];
    for (const BufferId id : leaf.writes) ++counts[id];
  });
  return counts;
}

}  // namespace

TEST_CASE("what is no residual ends with its block", "[program][memory]") {
  // An activation that a scan's body and something outside of it touch would live through all of
  // the scan: only stacked residuals, streams, gradients and weights on their way do.
  for (const std::string& model : lowering_models()) {
    for (const char* policy : {"remat_policy=full", "remat_policy=none"}) {
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        const StepProgram program = lower(plan_of(job(model, "v5p-16", {policy})), prefetch);
        const std::map<BufferId, int> everywhere = touched(program.root);
        for_each_repeat(program.root, [&](const ProgramNode& scan) {
          for (const auto& [id, times] : touched(scan)) {
            const Buffer& buffer = buffer_of(program, id);
            INFO(model << " " << policy << " " << buffer.name);
            if (buffer.category == "activations") CHECK(everywhere.at(id) == times);
          }
        });
      }
    }
  }
}

TEST_CASE("accumulated gradients live beside those of a microbatch", "[program][memory]") {
  // In the backward pass of the last layer to run, both trees are complete but for that layer.
  for (const std::string& model : some_models) {
    INFO(model);
    const Plan once = plan_of(job(model, "v5p-16"));
    const Plan thrice = plan_of(job(model, "v5p-16", {"gradient_accumulation_steps=3"}));
    const StepProgram program = lower(thrice, Prefetch::layer);
    Bytes sum;
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name == "accumulated gradients") sum = buffer.bytes;
    }
    CHECK(sum > Bytes(0));
    CHECK(memory_peak(program).temp == memory_peak(lower(once, Prefetch::layer)).temp + sum);
  }
}

TEST_CASE("temporary bytes of one dense layer, by hand", "[program][memory]") {
  // One layer of llama3.1-8b: D = 4096, V = 128256, 32 heads and 8 key/value heads of 128, F =
  // 14336; T = 2048 tokens a device. The peak is where the loss turns back: the exponentials in
  // fp32, the gradient of the logits and the head's kernel in bf16, four bytes of loss for a token,
  // and three streams: the layer's input, its output, and that after the last norm.
  const std::int64_t D = 4096;
  const std::int64_t V = 128'256;
  const std::int64_t T = 2048;
  const std::int64_t loss = T * V * (4 + 2) + V * D * 2 + T * 4 + 3 * T * D * 2;
  const Plan plan = plan_of(job("llama3.1-8b", "v5p-16", {"base_num_decoder_layers=1"}));
  const StepProgram kernel = lower(plan, Prefetch::kernel);
  const MemoryPeak peak = memory_peak(kernel);
  CHECK(peak.at == "global backward cross_entropy_back");
  CHECK(peak.temp.value() == loss);
  CHECK(peak.categories ==
        std::vector<std::pair<std::string, Bytes>>{{"activation_gradients", Bytes(T * V * 2)},
                                                   {"activations", Bytes(T * 4 + T * D * 2)},
                                                   {"carries", Bytes(2 * T * D * 2)},
                                                   {"gathered_weights", Bytes(V * D * 2)},
                                                   {"logits", Bytes(T * V * 4)}});
  // A layer ahead, the layer's kernels are there as well.
  const std::int64_t layer = (2 * D * D + 2 * D * 1024 + 3 * D * 14'336) * 2;
  const StepProgram ahead = lower(plan, Prefetch::layer);
  CHECK(memory_peak(ahead).temp.value() == loss + layer);
  // With room, the bf16 logits that the exponentials were taken of are still there.
  CHECK(roomy_temp(kernel).value() == loss + T * V * 2);
  CHECK(roomy_temp(ahead).value() == loss + layer + T * V * 2);
}
