#include "model_specs/inventory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "model_specs/layer_tensors.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

void append(std::vector<Tensor>& to, std::vector<Tensor> from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

// One of the two mixing sites of a layer: [kD] streams to pre, post and residual coefficients.
void append_hyper_connection_site(std::vector<Tensor>& t, const std::string& path,
                                  const ModelSpec& spec) {
  const std::int64_t k = spec.hyper_connections->streams;
  const std::int64_t kD = k * spec.emb_dim;
  t.push_back({path + "mhc_norm/scale", {kD}, {"norm"}, TensorRole::norm});
  t.back().official = false;  // the published model's norm has no weight
  t.push_back({path + "pre_alpha", {kD, k}, {"activation_embed", ""}});
  t.push_back({path + "post_alpha", {kD, k}, {"activation_embed", ""}});
  t.push_back({path + "res_alpha", {kD, k * k}, {"activation_embed", ""}});
  t.push_back({path + "pre_beta", {k}, {""}, TensorRole::bias});
  t.push_back({path + "post_beta", {k}, {""}, TensorRole::bias});
  t.push_back({path + "res_beta", {k, k}, {"", ""}, TensorRole::bias});
  for (const char* name : {"pre", "post", "res"}) {
    t.push_back({path + fmt::format("{}_alpha_scale", name), {1}, {""}, TensorRole::bias});
  }
}

void append_hyper_connection_head(std::vector<Tensor>& t, const std::string& path,
                                  const ModelSpec& spec) {
  const std::int64_t k = spec.hyper_connections->streams;
  t.push_back({path + "hc_fn", {k * spec.emb_dim, k}, {"activation_embed", ""}});
  t.push_back({path + "hc_base", {k}, {""}, TensorRole::bias});
  t.push_back({path + "hc_scale", {1}, {""}, TensorRole::bias});
}

bool has_hyper_connection_head(const ModelSpec& spec) {
  return spec.hyper_connections && spec.hyper_connections->head;
}

std::vector<std::string> expert_kernel_axes(ExpertAxes mode, const Tensor& tensor) {
  const bool down = tensor.name.ends_with("/wo");
  switch (mode) {
    case ExpertAxes::by_expert: break;
    case ExpertAxes::experts_on_fsdp:
      if (down) return {"embed_moe", "mlp_moe", ""};
      return {"embed_moe", "", "mlp_moe"};
    case ExpertAxes::fsdp_2d: return {"embed_moe", "mlp_moe", ""};
    case ExpertAxes::batch_split:
      if (down) return {"expert_only", "", "embed_moe"};
      return {"expert_only", "embed_moe", ""};
  }
  return tensor.axes;
}

// `tensor` of one layer as the stack of `layers` of them.
Tensor stacked(Tensor tensor, const Segment& segment, std::int64_t scan_axis) {
  if (!segment.scanned) return tensor;
  const auto rank = static_cast<std::int64_t>(tensor.shape.size());
  const auto at = static_cast<std::ptrdiff_t>(std::clamp<std::int64_t>(scan_axis, 0, rank));
  tensor.shape.insert(tensor.shape.begin() + at, static_cast<std::int64_t>(segment.repeats));
  tensor.axes.insert(tensor.axes.begin() + at, segment.stack_axis);
  return tensor;
}

// "decoder/layers_0", "decoder/moe_layers", or "decoder/scanned_blocks/layers_1" for the second
// layer of a block.
std::string layer_path(const Segment& segment, std::size_t in_block) {
  if (segment.block == 1) return "decoder/" + segment.name + "/";
  return fmt::format("decoder/{}/layers_{}/", segment.name, in_block);
}

}  // namespace

std::int64_t Tensor::elements() const { return checked_product(shape, name); }

std::vector<Tensor> layer_tensors(const ModelSpec& spec, const LayerKind& kind) {
  std::vector<Tensor> tensors;
  if (kind.attention) {
    append(tensors, attention_tensors(spec, *kind.attention));
    append_norm(tensors, "pre_self_attention_layer_norm", spec.emb_dim, spec.layer_norm);
    append_norm(tensors, "post_self_attention_layer_norm", spec.emb_dim, spec.layer_norm);
  }
  if (spec.hyper_connections) {
    append_hyper_connection_site(tensors, "mhc_attention/", spec);
    append_hyper_connection_site(tensors, "mhc_mlp/", spec);
  }
  append(tensors, mlp_tensors(spec, kind.mlp));
  return tensors;
}

std::vector<Tensor> state_tensors(const ModelSpec& spec, const LayerKind& kind, ExpertAxes mode) {
  std::vector<Tensor> tensors = layer_tensors(spec, kind);
  for (Tensor& tensor : tensors) {
    if (tensor.role == TensorRole::expert_kernel) tensor.axes = expert_kernel_axes(mode, tensor);
  }
  return tensors;
}

std::vector<Tensor> global_tensors(const ModelSpec& spec) {
  std::vector<Tensor> t;
  if (spec.config.single_moe_block) return t;
  const std::int64_t D = spec.emb_dim;
  const std::int64_t V = spec.vocab_size;
  t.push_back(
      {"token_embedder/embedding", {V, D}, {"vocab", "embed_vocab"}, TensorRole::embedding});
  if (spec.learned_positions > 0) {
    t.push_back({"decoder/position_embedder/embedding",
                 {spec.learned_positions, D},
                 {"vocab", "embed_vocab"},
                 TensorRole::embedding});
  }
  if (!spec.tied_embedding) {
    t.push_back(
        {"decoder/logits_dense/kernel", {D, V}, {"embed_vocab", "vocab"}, TensorRole::embedding});
  }
  append_norm(t, "decoder/decoder_norm", D, spec.layer_norm);
  if (has_hyper_connection_head(spec)) append_hyper_connection_head(t, "decoder/hc_head/", spec);
  return t;
}

std::vector<Tensor> mtp_tensors(const ModelSpec& spec, ExpertAxes mode) {
  std::vector<Tensor> t;
  const std::int64_t D = spec.emb_dim;
  append_norm(t, "embedding_norm", D, spec.layer_norm);
  append_norm(t, "hidden_state_norm", D, spec.layer_norm);
  append_norm(t, "final_norm", D, spec.layer_norm);
  if (spec.is_deepseek4()) {
    t.push_back({"embedding_projection/kernel", {D, D}, {"embed", ""}});
    t.push_back({"hidden_state_projection/kernel", {D, D}, {"embed", ""}});
    if (has_hyper_connection_head(spec)) append_hyper_connection_head(t, "hc_head/", spec);
  } else {
    t.push_back({"projection/kernel", {2 * D, D}, {"concat_embed", "embed"}});
  }
  for (Tensor& tensor : state_tensors(spec, spec.mtp_kind(), mode)) {
    tensor.name = "transformer_layer/" + tensor.name;
    t.push_back(std::move(tensor));
  }
  return t;
}

std::vector<StoredTensor> stored_tensors(const ModelSpec& spec, const ScanLayout& layout,
                                         std::int64_t scan_axis, ExpertAxes expert_axes) {
  std::vector<StoredTensor> stored;
  for (Tensor& tensor : global_tensors(spec)) {
    std::string name = tensor.name;
    stored.push_back({std::move(tensor), 1, std::move(name)});
  }
  for (const Segment& segment : layout.segments) {
    for (std::size_t in_block = 0; in_block < segment.block; ++in_block) {
      for (Tensor& tensor :
           state_tensors(spec, spec.layer(segment.first + in_block), expert_axes)) {
        std::string base = tensor.name;
        tensor.name = layer_path(segment, in_block) + base;
        stored.push_back({stacked(std::move(tensor), segment, scan_axis),
                          static_cast<std::int64_t>(segment.repeats), std::move(base)});
      }
    }
  }
  for (std::int64_t depth = 1; depth <= spec.mtp_layers; ++depth) {
    for (Tensor& tensor : mtp_tensors(spec, expert_axes)) {
      std::string base = "mtp_block/" + tensor.name;
      tensor.name = fmt::format("mtp_block/mtp_layer_{}/{}", depth, tensor.name);
      stored.push_back({std::move(tensor), 1, std::move(base)});
    }
  }
  return stored;
}

}  // namespace meshsim
