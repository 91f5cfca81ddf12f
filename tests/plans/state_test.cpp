// State bytes against what XLA reported, and rule by rule.
#include "plans/state.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

constexpr std::int64_t GiB = std::int64_t{1} << 30;

TrainingState state_of(Words words) { return training_state(plan_of(std::move(words))); }

std::string fault(Words words) {
  const Error error = refusal([&] { state_of(std::move(words)); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

// The only buffer of `category` whose name ends in `suffix`.
const StateBuffer& buffer(const TrainingState& state, const std::string& category,
                          const std::string& suffix) {
  const auto is_it = [&](const StateBuffer& b) {
    return b.category == category && b.name.ends_with(suffix);
  };
  REQUIRE(std::count_if(state.buffers.begin(), state.buffers.end(), is_it) == 1);
  return *std::find_if(state.buffers.begin(), state.buffers.end(), is_it);
}

}  // namespace

TEST_CASE("the revision that PR 4153 compiled, to the byte", "[plans][state]") {
  Words words = flash({"weight_dtype=float32"});
  words[0] = "model_name=deepseek4-pr4153-rev1";
  const TrainingState state = state_of(words);
  CHECK(state.alias().value() == 18'401'880'576);
  // five int32 arrays [1, 4096]
  CHECK(state.arguments().value() == 18'401'880'576 + 5 * 4096 * 4);
  CHECK(state.arguments().value() == 18'401'962'496);
  // seventeen scalars of 512 B
  CHECK(state.output().value() == 18'401'880'576 + 17 * 512);
  CHECK(state.output().value() == 18'401'889'280);
}

TEST_CASE("today's DeepSeek-V4-Flash on the same mesh", "[plans][state]") {
  CHECK(state_of(flash({"weight_dtype=float32"})).state().value() == 31'035'901'440);
  CHECK(state_of(flash({"weight_dtype=bfloat16"})).state().value() == 15'524'193'792);
}

TEST_CASE("DeepSeek-V2-Lite on four chips: 44.5 GiB of arguments", "[plans][state]") {
  // 15.933e9 parameters x 12 B over 4 devices = 44.52 GiB (MaxText's logs guide: 44.5).
  const TrainingState state =
      state_of({"model_name=deepseek2-16b-2025-09", "compile_topology=v5p-8",
                "ici_fsdp_parallelism=4", "weight_dtype=float32", "per_device_batch_size=24",
                "max_target_length=2048", "attention=flash"});
  const double gib = static_cast<double>(state.arguments().value()) / static_cast<double>(GiB);
  CHECK(gib == Approx(44.5).margin(0.05));
}

TEST_CASE("what the rules leave whole: o_a_proj, the alphas, the hash tables", "[plans][state]") {
  const Plan plan = plan_of(flash({"weight_dtype=float32"}));
  const TrainingState state = training_state(plan);
  std::int64_t whole = 0;
  std::int64_t all = 0;
  for (const StateBuffer& b : state.buffers) {
    if (b.category != "parameters" && b.category != "buffers") continue;
    const std::int64_t replicas = b.replicas(plan.mesh);
    if (b.name.find("o_a_proj") != std::string::npos ||
        b.name.find("_alpha") != std::string::npos || b.name.find("tid2eid") != std::string::npos) {
      INFO(b.name);
      CHECK(replicas == 256);
    }
    if (b.category != "parameters") continue;
    std::int64_t elements = 1;
    for (const std::int64_t n : b.shape) elements *= n;
    all += elements;
    if (replicas == 256) whole += elements;
    if (b.name.ends_with("wo") || b.name.ends_with("wi_0")) CHECK(replicas == 1);
  }
  CHECK(all == 284'333'639'255);
  // 43 layers x 8 x 4096 x 1024 of o_a_proj are most of what is whole: 0.52 % of all.
  CHECK(whole == 1'480'001'111);
  CHECK(std::int64_t{43} * 8 * 4096 * 1024 == 1'442'840'576);
}

TEST_CASE("a shard is padded, not the whole array", "[plans][state]") {
  const TrainingState state = state_of(flash({"weight_dtype=float32"}));
  // tid2eid [129280, 6] fp32, whole: 6 rows are stored as 8.
  const StateBuffer& table = buffer(state, "buffers", "layers_0/mlp/MoeBlock_0/tid2eid");
  CHECK(table.bytes.value() == 129280 * 8 * 4);
  CHECK(table.unpadded.value() == 129280 * 6 * 4);
  // wo of a block [E, 20, F, D], D over 256: the shard is [256, 20, 2048, 16].
  const StateBuffer& wo = buffer(state, "parameters", "scanned_blocks/layers_1/mlp/MoeBlock_0/wo");
  CHECK(wo.shape == std::vector<std::int64_t>{256, 20, 2048, 4096});
  CHECK(wo.shard == std::vector<std::int64_t>{256, 20, 2048, 16});
  CHECK(wo.bytes == wo.unpadded);  // 2048 and 16 are multiples of 128 and 8
}

TEST_CASE("scalars: one step and the optimizer's counters", "[plans][state]") {
  CHECK(state_of(llama({"opt_type=adamw"})).on_device("counters").value() == (1 + 2) * 512);
  CHECK(state_of(llama({"opt_type=adam_pax"})).on_device("counters").value() == (1 + 1) * 512);
  CHECK(state_of(llama({"opt_type=sgd"})).on_device("counters").value() == 1 * 512);
}

TEST_CASE("optimizer state follows opt_type, weight_dtype and mu_dtype", "[plans][state]") {
  const auto bytes = [](Words more, const char* category) {
    return state_of(llama(std::move(more))).on_device(category).value();
  };
  const std::int64_t parameters = bytes({"weight_dtype=float32"}, "parameters");
  // 8,030,261,248 parameters x 4 B over 32 devices, and the norms whole: 65 x 4096 x 4 B.
  CHECK(parameters == (8'030'261'248 - 65 * 4096) / 32 * 4 + 65 * 4096 * 4);
  CHECK(bytes({"weight_dtype=float32"}, "optimizer_mu") == parameters);
  CHECK(bytes({"weight_dtype=float32", "mu_dtype=bfloat16"}, "optimizer_mu") == parameters / 2);
  CHECK(bytes({"weight_dtype=float32", "mu_dtype=bfloat16"}, "optimizer_nu") == parameters);
  CHECK(bytes({"weight_dtype=bfloat16", "mu_dtype=float32"}, "optimizer_nu") == parameters / 2);
  CHECK(bytes({"weight_dtype=float32", "opt_type=adam_pax", "mu_dtype=bfloat16"}, "optimizer_mu") ==
        parameters);
  CHECK(bytes({"weight_dtype=float32", "opt_type=sgd"}, "optimizer_mu") == 0);
  // Muon: the two tables of 128256 x 4096 and the norms stay with Adam.
  const std::int64_t adam = 2 * 128256 * std::int64_t{4096} / 32 * 4 + 65 * 4096 * 4;
  CHECK(bytes({"weight_dtype=float32", "opt_type=muon"}, "optimizer_nu") == adam);
  CHECK(bytes({"weight_dtype=float32", "opt_type=muon"}, "optimizer_mu") == adam);
  CHECK(bytes({"weight_dtype=float32", "opt_type=muon"}, "optimizer_momentum") ==
        parameters - adam);
}

TEST_CASE("state on the host leaves the device", "[plans][state]") {
  const TrainingState device = state_of(llama());
  const TrainingState optimizer = state_of(llama({"optimizer_memory_host_offload=true"}));
  CHECK(optimizer.on_device("optimizer_mu").value() == 0);
  CHECK(optimizer.on_host() == device.on_device("optimizer_mu") + device.on_device("optimizer_nu"));
  CHECK(optimizer.state() + optimizer.on_host() == device.state());
  const TrainingState parameters = state_of(llama({"parameter_memory_host_offload=true"}));
  CHECK(parameters.on_host() == device.on_device("parameters"));
  CHECK(parameters.state() + parameters.on_host() == device.state());
}

TEST_CASE("shard_optimizer_over_data splits the optimizer's copies once more", "[plans][state]") {
  const Words degrees{"ici_fsdp_parallelism=8", "ici_data_parallelism=4"};
  Words split = degrees;
  split.emplace_back("shard_optimizer_over_data=true");
  const TrainingState whole = state_of(llama(degrees));
  const TrainingState parts = state_of(llama(split));
  CHECK(parts.on_device("parameters") == whole.on_device("parameters"));
  // Every dimension of Llama 3.1 8B that comes first is a multiple of 4, norms included.
  CHECK(parts.on_device("optimizer_mu").value() * 4 == whole.on_device("optimizer_mu").value());
}

TEST_CASE("the batch: five int32 arrays over the axes of sequences and tokens", "[plans][batch]") {
  const auto inputs = [](Words more) { return state_of(llama(std::move(more))); };
  // 32 devices x 1 sequence over fsdp 32: [1, 2048] each.
  CHECK(inputs({}).batch().value() == 5 * 2048 * 4);
  Words eight = llama();
  eight[2] = "per_device_batch_size=8";
  CHECK(state_of(eight).batch().value() == 5 * 8 * 2048 * 4);
  // Half a sequence a device, tensor 4: 16 sequences over fsdp 8, two on each device.
  Words half = llama({"ici_tensor_parallelism=4"});
  half[2] = "per_device_batch_size=0.5";
  const TrainingState fractional = state_of(half);
  CHECK(buffer(fractional, "batch", "inputs").shape == std::vector<std::int64_t>{16, 2048});
  CHECK(buffer(fractional, "batch", "inputs").shard == std::vector<std::int64_t>{2, 2048});
  // Context 4 splits the tokens: 32 sequences over fsdp 8, 2048 / 4 tokens.
  const TrainingState context = state_of(llama({"ici_context_parallelism=4"}));
  CHECK(buffer(context, "batch", "inputs").shard == std::vector<std::int64_t>{4, 512});
  // The sequences of all accumulation steps come in together.
  CHECK(inputs({"gradient_accumulation_steps=4"}).batch().value() == 4 * 5 * 2048 * 4);
}

TEST_CASE("a batch that does not divide is refused", "[plans][batch]") {
  Words half = llama();
  half[2] = "per_device_batch_size=0.5";
  CHECK_THAT(fault(half), Contains("<command line>:3: error: per_device_batch_size: 16 sequences "
                                   "are split over fsdp = 32 devices, which does not divide them"));
  half[2] = "per_device_batch_size=0.3";
  CHECK_THAT(fault(half), Contains("0.3 x 32 devices is 9.6 sequences, not a whole number"));
  half[2] = "per_device_batch_size=0.01";
  CHECK_THAT(fault(half), Contains("the smallest is 1/32 = 0.03125"));
  CHECK_THAT(fault(llama({"input_data_sharding_logical_axes=[a, b, c]"})),
             Contains("must name at most two axes, sequences and tokens (got 3)"));
}

TEST_CASE("parameters must divide, and one message names the array", "[plans][state]") {
  // 8 key/value heads over tensor 16.
  CHECK_THAT(
      fault(llama({"ici_tensor_parallelism=16"})),
      Contains("<command line>:5: error: ici_tensor_parallelism: tensor = 16 does not divide "
               "dimension 2 of decoder/layers/self_attention/key/kernel [4096,32,8,128], nor "
               "of 1 more array [uneven-parameter]\n"
               "  hint: degrees whose product divides 8: at most 8"));
  // 32 layers over 64 stages.
  const Words stages{"model_name=llama3.1-8b", "compile_topology=v5p-128",
                     "per_device_batch_size=1", "ici_pipeline_parallelism=64"};
  CHECK_THAT(fault(stages),
             Contains("64 stages of 1 layers, 1 times, are not the 32 layers [pipeline]"));
  // 8 experts over 16: in wi_0, wi_1 and wo, told once, not once for each copy of the optimizer's.
  const Words experts{"model_name=mixtral-8x7b", "compile_topology=v5p-64",
                      "per_device_batch_size=1", "ici_expert_parallelism=16",
                      "allow_split_physical_axes=true"};
  CHECK_THAT(
      fault(experts),
      Contains("expert = 16 does not divide dimension 0 of "
               "decoder/layers/mlp/MoeBlock_0/wi_0 [8,32,4096,14336], nor of 2 more arrays"));
  CHECK(refusal([&] { state_of(experts); }).diagnostics().size() == 1);
}

TEST_CASE("too much that is whole on every device is refused", "[plans][state]") {
  const Words replicated = llama({"ici_fsdp_parallelism=1", "ici_tensor_parallelism=8",
                                  "ici_data_parallelism=4", "logical_axis_rules=[[mlp, []]]"});
  CHECK_THAT(fault(replicated), Contains("sharding_tolerance: ") &&
                                    Contains("of the parameter bytes are on every device whole, "
                                             "more than 2.0 %"));
  Words tolerant = replicated;
  tolerant.emplace_back("sharding_tolerance=1");
  CHECK_NOTHROW(state_of(tolerant));
  // Pure data parallelism shards nothing and is not asked to.
  CHECK_NOTHROW(state_of(llama({"ici_fsdp_parallelism=1", "ici_data_parallelism=32"})));
}

TEST_CASE("bytes that overflow are refused with the product", "[plans][state]") {
  Words words = llama({"gradient_accumulation_steps=1048576"});
  words[2] = "per_device_batch_size=1048576";
  words[3] = "max_target_length=134217728";
  CHECK_THAT(fault(words), Contains(" x ") && Contains("exceeds"));
}
