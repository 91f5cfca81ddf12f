// The tensor inventory: every array a model stores, with its logical axes.
//
// Names, shapes ([in, out] kernels) and logical axes are MaxText's. Parameter totals, state bytes,
// FSDP traffic and checkpoints all derive from this one list.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model_specs/model_spec.hpp"
#include "model_specs/scan_layout.hpp"
#include "units/dtype.hpp"

namespace meshsim {

// What a tensor is for, as far as optimizers and shardings tell tensors apart.
enum class TensorRole {
  kernel,         // a matrix that multiplies activations
  expert_kernel,  // the same, one per expert: its first dimension is E
  embedding,      // token and position tables, the output head
  norm,           // scales of normalisations
  bias,           // biases, sinks, learned scalars
  table,          // tid2eid: token id -> expert ids
};

struct Tensor {
  std::string name;  // "self_attention/wq_a/kernel"
  std::vector<std::int64_t> shape;
  std::vector<std::string> axes;  // logical axis per dimension; "" has no rule
  TensorRole role = TensorRole::kernel;
  std::optional<DType> dtype = {};  // absent: the plan's weight_dtype
  bool trainable = true;            // carries optimizer state
  bool gradient = true;             // false: trainable, but no gradient ever reaches it
  bool official = true;             // false: MaxText has it, the published model does not

  std::int64_t elements() const;
};

// The logical axes of expert kernels wi [E, D, F] and wo [E, F, D]: MaxText's modes of sharding
// them.
//
//                    wi                              wo
//   by_expert        exp, embed_moe, mlp_moe         exp, mlp_moe, embed_moe
//   experts_on_fsdp  embed_moe, -, mlp_moe           embed_moe, mlp_moe, -
//   fsdp_2d          embed_moe, mlp_moe, -           embed_moe, mlp_moe, -
//   batch_split      expert_only, embed_moe, -       expert_only, -, embed_moe
enum class ExpertAxes { by_expert, experts_on_fsdp, fsdp_2d, batch_split };

// The tensors of one layer, under names relative to the layer.
std::vector<Tensor> layer_tensors(const ModelSpec& spec, const LayerKind& kind);

// Embeddings, final norm, output head, hyper-connection head.
std::vector<Tensor> global_tensors(const ModelSpec& spec);

// One multi-token-prediction block: two norms, a projection of [hidden, embedding], the last
// layer's kind, a final norm (DeepSeek-V4: two projections, and a hyper-connection head of its
// own).
std::vector<Tensor> mtp_tensors(const ModelSpec& spec, ExpertAxes mode = ExpertAxes::by_expert);

// A tensor as the training state holds it: scanned layers are stacked on one more axis.
struct StoredTensor {
  Tensor tensor;            // with the stacked axis; name is the full path
  std::int64_t layers = 1;  // how many layers the stack holds
  std::string base_name;    // the name inside its layer
};

// layer_tensors with the expert kernels' axes of that mode.
std::vector<Tensor> state_tensors(const ModelSpec& spec, const LayerKind& kind, ExpertAxes mode);

// The whole training state's tensors for `layout`; the stacked axis is inserted at `scan_axis`
// (MaxText's param_scan_axis), or last where the tensor has fewer dimensions.
std::vector<StoredTensor> stored_tensors(const ModelSpec& spec, const ScanLayout& layout,
                                         std::int64_t scan_axis,
                                         ExpertAxes expert_axes = ExpertAxes::by_expert);

}  // namespace meshsim
