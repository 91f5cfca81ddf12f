#include <fmt/format.h>

#include "model_specs/layer_tensors.hpp"

namespace meshsim {
namespace {

std::string up_name(std::int64_t i, std::int64_t up_projections) {
  return up_projections == 1 ? "wi" : fmt::format("wi_{}", i);
}

// A dense MLP [D, F] (x up projections), [F, D] under `path`.
void append_dense(std::vector<Tensor>& t, const std::string& path, std::int64_t D,
                  const DenseMlp& mlp) {
  for (std::int64_t i = 0; i < mlp.up_projections; ++i) {
    const std::string name = up_name(i, mlp.up_projections);
    t.push_back({path + name + "/kernel", {D, mlp.width}, {"embed", "mlp"}});
    if (mlp.bias) t.push_back({path + name + "/bias", {mlp.width}, {"mlp"}, TensorRole::bias});
  }
  t.push_back({path + "wo/kernel", {mlp.width, D}, {"mlp", "embed"}});
  if (mlp.bias) t.push_back({path + "wo/bias", {D}, {"norm"}, TensorRole::bias});
}

void append_router(std::vector<Tensor>& t, const std::string& path, const ModelSpec& spec,
                   const MoeMlp& moe) {
  t.push_back({path + "gate/kernel", {spec.emb_dim, moe.experts}, {"embed_moe", ""}});
  if (moe.routing == MoeMlp::Routing::hash) {
    Tensor table{path + "tid2eid", {spec.vocab_size, moe.top_k}, {"", ""}, TensorRole::table};
    table.dtype = DType::float32;
    table.trainable = moe.hash_table_trained;
    table.gradient = false;  // ids are cast to integers: none comes back
    t.push_back(std::move(table));
  }
  if (moe.router_bias != MoeMlp::Bias::none) {
    Tensor bias{path + "gate/bias", {moe.experts}, {""}, TensorRole::bias};
    bias.trainable = moe.router_bias == MoeMlp::Bias::trained;
    t.push_back(std::move(bias));
  }
}

void append_experts(std::vector<Tensor>& t, const std::string& path, std::int64_t D,
                    const MoeMlp& moe) {
  for (std::int64_t i = 0; i < moe.up_projections; ++i) {
    t.push_back({path + up_name(i, moe.up_projections),
                 {moe.experts, D, moe.width},
                 {"exp", "embed_moe", "mlp_moe"},
                 TensorRole::expert_kernel});
    if (moe.expert_bias) {
      t.push_back({path + up_name(i, moe.up_projections) + "_bias",
                   {moe.experts, moe.width},
                   {"exp", "activation_mlp"},
                   TensorRole::bias});
    }
  }
  t.push_back({path + "wo",
               {moe.experts, moe.width, D},
               {"exp", "mlp_moe", "embed_moe"},
               TensorRole::expert_kernel});
  if (moe.expert_bias) {
    t.push_back(
        {path + "wo_bias", {moe.experts, D}, {"exp", "activation_embed"}, TensorRole::bias});
  }
}

}  // namespace

std::vector<Tensor> mlp_tensors(const ModelSpec& spec, const Mlp& mlp) {
  std::vector<Tensor> tensors;
  if (const auto* dense = std::get_if<DenseMlp>(&mlp)) {
    append_dense(tensors, "mlp/", spec.emb_dim, *dense);
    return tensors;
  }
  const auto& moe = std::get<MoeMlp>(mlp);
  const std::string block = "mlp/MoeBlock_0/";
  if (moe.router) append_router(tensors, block, spec, moe);
  append_experts(tensors, block, spec.emb_dim, moe);
  if (moe.shared_width > 0) {
    append_dense(tensors, "mlp/shared_experts/", spec.emb_dim,
                 DenseMlp{moe.shared_width, moe.up_projections});
  }
  return tensors;
}

}  // namespace meshsim
