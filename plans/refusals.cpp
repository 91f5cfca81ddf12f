#include "plans/refusals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>

#include "plans/kernel_blocks.hpp"
#include "plans/pipeline.hpp"
#include "plans/plan.hpp"
#include "plans/uneven.hpp"

namespace meshsim {
namespace {

// The key at which the refusal is reported, why, and the nearest legal change.
struct Finding {
  std::string key;
  std::string what;
  std::string hint;
};

struct Refusal {
  const char* id;
  const char* assumed_when_lifted;  // nullptr: cannot be lifted
  std::optional<Finding> (*find)(const Plan&);
};

using Result = std::optional<Finding>;

bool is_hash_routed(const Plan& p) {
  return p.model.is_deepseek4() && p.model.config.first_num_hash_layers > 0;
}

Result v4_attention(const Plan& p) {
  const std::string attention = p.config.text("attention");
  const bool flash = attention == "flash" && p.config.boolean("use_tokamax_splash");
  if (!p.model.is_deepseek4() || attention == "dot_product" || flash) return {};
  return Finding{"attention",
                 fmt::format("'{}' does not run DeepSeek-V4's compressed attention", attention),
                 "attention=dot_product, or attention=flash use_tokamax_splash=true"};
}

Result hash_with_ring(const Plan& p) {
  if (!is_hash_routed(p) || !p.config.boolean("use_ring_of_experts")) return {};
  return Finding{"use_ring_of_experts", "hash-routed layers have no token ids in a ring of experts",
                 "use_ring_of_experts=false, or --allow hash-with-ring for a what-if"};
}

Result batch_split_model(const Plan& p) {
  if (!p.config.boolean("use_batch_split_schedule")) return {};
  if (p.model.config.decoder_block != "deepseek") {
    return Finding{"use_batch_split_schedule", "runs the layers of the deepseek decoder only",
                   "use_batch_split_schedule=false, or --allow batch-split-model for a what-if"};
  }
  if (p.config.boolean("use_gmm_v2")) {
    return Finding{"use_gmm_v2", "does not run in the batch-split schedule",
                   "use_gmm_v2=false, or --allow batch-split-model for a what-if"};
  }
  const std::string quantization = p.config.text("quantization");
  if (!quantization.empty() && quantization != "fp8_full") {
    return Finding{
        "quantization",
        fmt::format("'{}' does not run in the batch-split schedule, fp8_full does", quantization),
        "quantization=\"\", or --allow batch-split-model for a what-if"};
  }
  return {};
}

Result v4_mtp(const Plan& p) {
  if (!p.model.is_deepseek4() || p.model.mtp_layers == 0) return {};
  return Finding{"mtp_num_layers", "MaxText has no multi-token prediction for DeepSeek-V4",
                 "mtp_num_layers=0, or --allow v4-mtp for a what-if"};
}

Result v4_linen_bias(const Plan& p) {
  if (!p.model.is_deepseek4() || !p.model.config.routed_bias || p.config.boolean("pure_nnx"))
    return {};
  return Finding{"pure_nnx", "the router bias of DeepSeek-V4 needs pure_nnx=true", "pure_nnx=true"};
}

Result token_chunks(const Plan& p) {
  const std::int64_t chunks = p.config.integer("num_moe_token_chunks");
  if (chunks == 1) return {};
  if (!p.config.boolean("use_ring_of_experts")) {
    return Finding{"num_moe_token_chunks", "needs use_ring_of_experts=true",
                   "use_ring_of_experts=true"};
  }
  if (p.training.sequence_length % chunks != 0) {
    return Finding{
        "num_moe_token_chunks",
        fmt::format("{} does not divide max_target_length={}", chunks, p.training.sequence_length),
        "a divisor"};
  }
  return {};
}

Result emb_chunks(const Plan& p) {
  const bool v2 = p.config.boolean("use_gmm_v2");
  if (v2 && !p.config.boolean("use_tokamax_gmm")) {
    return Finding{"use_gmm_v2", "needs use_tokamax_gmm=true", "use_tokamax_gmm=true"};
  }
  const std::int64_t chunks = p.config.integer("num_moe_emb_chunks");
  if (chunks > 0 && p.model.emb_dim % chunks != 0) {
    return Finding{"num_moe_emb_chunks",
                   fmt::format("{} does not divide base_emb_dim={}: the rest would be lost", chunks,
                               p.model.emb_dim),
                   "a divisor"};
  }
  if (chunks == 0 || (v2 && p.config.boolean("use_ring_of_experts"))) return {};
  return Finding{"num_moe_emb_chunks", "needs use_gmm_v2, use_tokamax_gmm and use_ring_of_experts",
                 "set the three to true, or --allow emb-chunks for a what-if"};
}

Result ragged_buffer(const Plan& p) {
  if (p.config.real("ragged_buffer_factor") <= 0 || !p.config.boolean("use_ring_of_experts") ||
      p.config.boolean("use_ragged_sort")) {
    return {};
  }
  return Finding{"ragged_buffer_factor", "with a ring of experts needs use_ragged_sort=true",
                 "use_ragged_sort=true"};
}

Result check_vma(const Plan& p) {
  if (!p.config.boolean("check_vma")) return {};
  for (const char* key : {"use_tokamax_gmm", "use_ragged_sort", "use_ring_of_experts"}) {
    if (p.config.boolean(key))
      return Finding{"check_vma", fmt::format("does not hold with {}=true", key),
                     "check_vma=false"};
  }
  for (const MeshAxis& axis : p.mesh.axes) {
    if (axis.ici > 1 && axis.name != "expert" && axis.name != "fsdp") {
      return Finding{"check_vma", fmt::format("does not hold with an ICI degree on {}", axis.name),
                     "check_vma=false"};
    }
  }
  return {};
}

Result moe_dims(const Plan& p) {
  const ModelConfig& c = p.model.config;
  if (!p.model.has_experts() || c.single_moe_block) return {};
  const bool fully_moe = c.first_num_dense_layers == 0 && c.interleave_moe_layer_step == 1;
  if (fully_moe && c.base_moe_mlp_dim > 0 && c.base_mlp_dim != c.base_moe_mlp_dim) {
    return Finding{"base_moe_mlp_dim",
                   fmt::format("{} differs from base_mlp_dim={} although every layer is MoE",
                               c.base_moe_mlp_dim, c.base_mlp_dim),
                   "set both to the expert width"};
  }
  if (c.base_num_decoder_layers % c.interleave_moe_layer_step != 0) {
    return Finding{"interleave_moe_layer_step",
                   fmt::format("{} does not divide the {} layers", c.interleave_moe_layer_step,
                               c.base_num_decoder_layers),
                   "a divisor"};
  }
  const bool capacity = p.config.real("capacity_factor") > 0;
  if (c.decoder_block == "gpt_oss" && capacity && !p.config.boolean("sparse_matmul")) {
    return Finding{"capacity_factor", "GPT-OSS has no dense path with capacity",
                   "capacity_factor=-1"};
  }
  if (c.decoder_block == "llama4" && (capacity || c.num_experts_per_tok > 1)) {
    return Finding{capacity ? "capacity_factor" : "num_experts_per_tok",
                   "Llama 4 routes to one expert without capacity",
                   "capacity_factor=-1 num_experts_per_tok=1"};
  }
  return {};
}

Result shard_exp_on_fsdp(const Plan& p) {
  if (!p.config.boolean("shard_exp_on_fsdp")) return {};
  if (p.mesh.size("expert") > 1 || p.mesh.size("tensor") > 1) {
    return Finding{"shard_exp_on_fsdp", "needs expert and tensor degrees of 1",
                   "shard_exp_on_fsdp=false"};
  }
  const std::int64_t fsdp = p.mesh.size("fsdp");
  if (p.model.config.num_experts % fsdp != 0) {
    return Finding{
        "shard_exp_on_fsdp",
        fmt::format("{} experts are not a multiple of fsdp={}", p.model.config.num_experts, fsdp),
        "shard_exp_on_fsdp=false, or an fsdp degree that divides the experts"};
  }
  return {};
}

Result context_strategy(const Plan& p) {
  const std::string strategy = p.config.text("context_parallel_strategy");
  const std::int64_t context = p.mesh.size("context") * p.mesh.size("context_usp_ulysses");
  if (context == 1) return {};
  if (p.model.is_deepseek4() && strategy != "all_gather") {
    return Finding{"context_parallel_strategy",
                   fmt::format("'{}' does not run compressed attention", strategy),
                   "context_parallel_strategy=all_gather"};
  }
  // A balanced rank has an early and a late run of the sequence.
  const bool balanced =
      strategy == "all_gather" && p.config.boolean("context_parallel_load_balance");
  const std::int64_t parts = strategy == "ring" ? context * context : context * (balanced ? 2 : 1);
  const std::int64_t S = p.training.sequence_length;
  if (S % parts != 0) {
    return Finding{
        "context_parallel_strategy",
        fmt::format("max_target_length={} is not divisible by {}", S, parts),
        fmt::format("max_target_length={}, or a smaller context degree", (S / parts + 1) * parts)};
  }
  if (strategy == "all_gather") return {};
  if (p.config.text("attention") != "flash" || !p.config.boolean("use_tokamax_splash")) {
    return Finding{"context_parallel_strategy",
                   fmt::format("'{}' needs attention=flash use_tokamax_splash=true", strategy),
                   "context_parallel_strategy=all_gather"};
  }
  const bool by_heads = strategy != "ring";
  const ModelConfig& c = p.model.config;
  const std::int64_t ulysses =
      p.mesh.size("context_usp_ulysses") > 1 ? p.mesh.size("context_usp_ulysses") : context;
  if (by_heads && (c.base_num_query_heads % ulysses != 0 || c.base_num_kv_heads % ulysses != 0)) {
    return Finding{"context_parallel_strategy",
                   fmt::format("'{}' needs {} and {} heads to be multiples of {}", strategy,
                               c.base_num_query_heads, c.base_num_kv_heads, ulysses),
                   "context_parallel_strategy=all_gather"};
  }
  return {};
}

Result pipeline(const Plan& p) {
  const PipelineSchedule s = pipeline_schedule(p);
  if (s.stages == 1) return {};
  const std::int64_t layers = pipelined_layers(p);
  const std::int64_t most = most_pipelined_layers(p);
  if (layers > most) {
    return Finding{"pipeline_parallel_layers",
                   most < static_cast<std::int64_t>(p.model.num_layers())
                       ? fmt::format("{} of the {} layers that can be pipelined", layers, most)
                       : fmt::format("{} of the model's {} layers", layers, most),
                   fmt::format("pipeline_parallel_layers={}", most)};
  }
  const std::int64_t block = pipelined_block(p);
  if (s.stage_layers % block != 0) {
    return Finding{
        "num_layers_per_pipeline_stage",
        fmt::format("{} of layers that are scanned in blocks of {}", s.stage_layers, block),
        fmt::format("num_layers_per_pipeline_stage={}", block)};
  }
  if (s.layers() != layers) {
    const std::int64_t once = s.stages * s.stage_layers;
    const std::int64_t groups = layers / s.stage_layers;  // of layers that a stage could hold
    return Finding{"num_layers_per_pipeline_stage",
                   fmt::format("{} stages of {} layers, {} times, are not the {} layers", s.stages,
                               s.stage_layers, s.repeats, layers),
                   layers % once == 0 ? fmt::format("num_pipeline_repeats={}", layers / once)
                   : layers % s.stage_layers == 0
                       ? fmt::format("a pipeline degree that divides {}: at most {}", groups,
                                     nearest_degree(groups, s.stages))
                       : fmt::format("num_layers_per_pipeline_stage={}",
                                     nearest_degree(layers, s.stage_layers))};
  }
  if (s.microbatches % s.stages != 0) {
    return Finding{
        "num_pipeline_microbatches",
        fmt::format("{} is not a multiple of the {} stages", s.microbatches, s.stages),
        fmt::format("num_pipeline_microbatches={}", (s.microbatches / s.stages + 1) * s.stages)};
  }
  if (s.repeats > 1 && s.microbatches < s.hop * s.stages) {
    return Finding{
        "num_pipeline_microbatches",
        fmt::format("a microbatch comes round after {} iterations, {} microbatches after "
                    "{}",
                    s.hop * s.stages, s.microbatches, s.microbatches),
        fmt::format("num_pipeline_microbatches={}", s.hop * s.stages)};
  }
  return {};
}

Result pipeline_kinds(const Plan& p) {
  if (p.mesh.size("stage") == 1 || pipelined_block(p) == 1) return {};
  const bool ici = p.config.integer("ici_pipeline_parallelism") != 1;
  const char* key = ici ? "ici_pipeline_parallelism" : "dcn_pipeline_parallelism";
  return Finding{key,
                 fmt::format("all stages of a pipeline run the same layer; the {} decoder's are of "
                             "several kinds",
                             p.model.config.decoder_block),
                 fmt::format("{}=1, or --allow pipeline-kinds for a what-if", key)};
}

Result vocab_tiling(const Plan& p) {
  const std::int64_t tiles = p.config.integer("num_vocab_tiling");
  const std::int64_t micro = p.training.global_batch / p.training.gradient_accumulation;
  if (tiles == 1 || micro * p.training.sequence_length % tiles == 0) return {};
  return Finding{"num_vocab_tiling",
                 fmt::format("{} does not divide batch x sequence = {}", tiles,
                             micro * p.training.sequence_length),
                 "a divisor"};
}

Result explicit_sharding(const Plan& p) {
  const std::string& decoder = p.model.config.decoder_block;
  if (p.config.text("shard_mode") != "explicit" || decoder == "llama2" || decoder == "deepseek")
    return {};
  return Finding{"shard_mode",
                 fmt::format("explicit sharding does not run the {} decoder", decoder),
                 "shard_mode=auto"};
}

Result diloco_axis(const Plan& p) {
  if (p.mesh.size("diloco") == 1) return {};
  return Finding{"ici_diloco_parallelism",
                 "a diloco degree needs enable_diloco, which is not modelled",
                 "ici_diloco_parallelism=1 dcn_diloco_parallelism=1"};
}

// Not MaxText's: the kernel's compiler refuses.
Result vmem_blocks(const Plan& p) {
  const std::optional<KernelBlocks> found = blocks_beyond_vmem(p);
  if (!found) return {};
  constexpr double mebibyte = 1 << 20;
  return Finding{found->key,
                 fmt::format("blocks of {} need {:.0f} MiB of VMEM, a TensorCore has {:.0f}",
                             found->blocks, found->needed / mebibyte, found->vmem / mebibyte),
                 "smaller blocks, " + found->key + "=512 for one"};
}

constexpr std::array refusals{
    Refusal{"v4-attention", nullptr, v4_attention},
    Refusal{"hash-with-ring",
            "token ids are gathered beside the tokens (4 B a token) in hash layers",
            hash_with_ring},
    Refusal{
        "batch-split-model",
        "the batch-split schedule runs this model's attention (and hyper-connections) in place of "
        "MLA, with the plan's kernels and number format",
        batch_split_model},
    Refusal{"v4-mtp", "one sliding-window, top-k routed block per depth after the stack", v4_mtp},
    Refusal{"v4-linen-bias", "the router bias costs the same without pure_nnx", v4_linen_bias},
    Refusal{"token-chunks", nullptr, token_chunks},
    Refusal{"emb-chunks", "embedding chunks run in a ring of experts, with any kernel", emb_chunks},
    Refusal{"ragged-buffer", nullptr, ragged_buffer},
    Refusal{"check-vma", nullptr, check_vma},
    Refusal{"moe-dims", nullptr, moe_dims},
    Refusal{"shard-exp-on-fsdp", nullptr, shard_exp_on_fsdp},
    Refusal{"context-strategy", nullptr, context_strategy},
    Refusal{"pipeline-kinds",
            "whole blocks of the scan are pipelined; layers that are not scanned run outside, on "
            "the stages as on more data parallelism",
            pipeline_kinds},
    Refusal{"pipeline", nullptr, pipeline},
    Refusal{"vocab-tiling", nullptr, vocab_tiling},
    Refusal{"explicit-sharding", nullptr, explicit_sharding},
    Refusal{"diloco", nullptr, diloco_axis},
    Refusal{"vmem-blocks", nullptr, vmem_blocks},
};

}  // namespace

std::vector<std::string> refusal_ids() {
  std::vector<std::string> ids;
  for (const Refusal& refusal : refusals) ids.emplace_back(refusal.id);
  // Decided where the layers are laid out, and where parameters are sharded.
  ids.insert(ids.end(), {"hash-scan", "uneven-parameter"});
  return ids;
}

std::vector<std::string> liftable_refusals() {
  std::vector<std::string> ids;
  for (const Refusal& refusal : refusals) {
    if (refusal.assumed_when_lifted != nullptr) ids.emplace_back(refusal.id);
  }
  ids.emplace_back("hash-scan");  // decided where the layers are laid out
  return ids;
}

void refuse_what_maxtext_refuses(Plan& plan) {
  Diagnostics faults;
  for (const Refusal& refusal : refusals) {
    const std::optional<Finding> finding = refusal.find(plan);
    if (!finding) continue;
    if (std::find(plan.allowed.begin(), plan.allowed.end(), refusal.id) != plan.allowed.end()) {
      plan.lifted.emplace_back(refusal.id);
      plan.assumptions.push_back(
          fmt::format("hypothetical ({}): {}", refusal.id, refusal.assumed_when_lifted));
      continue;
    }
    faults.add({plan.config.at(finding->key).value.where, finding->key,
                fmt::format("{} [{}]", finding->what, refusal.id), finding->hint});
  }
  faults.throw_if_any();
}

}  // namespace meshsim
