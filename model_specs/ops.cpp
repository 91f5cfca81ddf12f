#include "model_specs/ops.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "model_specs/op_builder.hpp"
#include "model_specs/visibility.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::int64_t matmul_flops(const std::vector<Matmul>& matmuls, const std::string& name) {
  std::int64_t flops = 0;
  for (const Matmul& p : matmuls) {
    flops = checked_add(flops, checked_product({2, p.count, p.m, p.k, p.n}, name + " FLOPs"),
                        name + " FLOPs");
  }
  return flops;
}

Op weight_op(std::string name, OpKind kind, std::vector<Matmul> matmuls, std::int64_t weight_copies,
             const Workload& load) {
  std::int64_t activations = 0;
  std::int64_t weights = 0;
  for (const Matmul& p : matmuls) {
    activations = checked_add(
        activations, checked_product({p.count, p.m, p.k + p.n}, name + " bytes"), name + " bytes");
    weights =
        checked_add(weights, checked_product({p.count, weight_copies, p.k, p.n}, name + " bytes"),
                    name + " bytes");
  }
  const FlopCount flops(matmul_flops(matmuls, name));
  const Bytes bytes = Bytes(activations) * element_bytes(load.activations) +
                      Bytes(weights) * element_bytes(load.weights);
  const Work forward{flops, bytes};
  return {std::move(name), kind, std::move(matmuls), forward, {flops * 2, bytes * 2}, forward};
}

Op vector_op(std::string name, OpKind kind, std::int64_t flops, std::int64_t elements,
             const Workload& load) {
  const Work forward{FlopCount(flops), Bytes(elements) * element_bytes(load.activations)};
  return {std::move(name), kind, {}, forward, {forward.flops * 2, forward.bytes * 2}, forward};
}

// Both mixing sites of a layer, per token with k streams: coefficients 2 kD (k^2 + 2k), collapse 2
// kD, injection kD, residual mixing 2 k^2 D. Streams are read for the coefficients, for the
// collapse and for the update, and written once.
Op hyper_connection_op(const ModelSpec& spec, const Workload& load) {
  const std::int64_t k = spec.hyper_connections->streams;
  const std::int64_t D = spec.emb_dim;
  const std::int64_t kD = k * D;
  const std::int64_t flops = 2 * kD * (k * k + 2 * k) + 2 * kD + kD + 2 * k * k * D;
  const std::int64_t elements = 4 * kD + 2 * D;
  constexpr std::int64_t sites = 2;
  return elementwise_op("mhc", checked_product({sites, load.sequence_length, flops}, "mhc FLOPs"),
                        checked_product({sites, load.sequence_length, elements}, "mhc bytes"),
                        load);
}

Op hyper_connection_head_op(const ModelSpec& spec, const Workload& load) {
  const std::int64_t k = spec.hyper_connections->streams;
  const std::int64_t kD = k * spec.emb_dim;
  return elementwise_op(
      "hc_head", checked_product({load.sequence_length, 2, kD, k + 1}, "hc_head FLOPs"),
      checked_product({load.sequence_length, 2 * kD + spec.emb_dim}, "hc_head bytes"), load);
}

Op lm_head_op(const ModelSpec& spec, const Workload& load) {
  return matmul_op("lm_head", {{1, load.sequence_length, spec.emb_dim, spec.vocab_size}}, load);
}

bool same_cost(const std::vector<Op>& a, const std::vector<Op>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Op& x, const Op& y) {
    return x.name == y.name && x.forward.flops == y.forward.flops &&
           x.backward.flops == y.backward.flops;
  });
}

// Attention tags where they tell the groups apart, else MLP tags, else both.
void name_groups(std::vector<OpGroup>& groups, const std::vector<const LayerKind*>& kinds) {
  std::set<std::string> attention;
  std::set<std::string> mlp;
  for (const LayerKind* kind : kinds) {
    attention.insert(attention_tag(*kind));
    mlp.insert(mlp_tag(*kind));
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string a = attention_tag(*kinds[i]);
    const std::string m = mlp_tag(*kinds[i]);
    groups[i].layer_kind = kinds.size() == 1                  ? m
                           : attention.size() == kinds.size() ? a
                           : mlp.size() == kinds.size()       ? m
                                                              : a + "+" + m;
  }
}

}  // namespace

Op matmul_op(std::string name, std::vector<Matmul> matmuls, const Workload& load) {
  return weight_op(std::move(name), OpKind::matmul, std::move(matmuls), 1, load);
}

Op grouped_matmul_op(std::string name, std::vector<Matmul> matmuls, std::int64_t experts,
                     const Workload& load) {
  return weight_op(std::move(name), OpKind::grouped_matmul, std::move(matmuls), experts, load);
}

Op attention_op(std::string name, std::int64_t pairs, std::int64_t heads, std::int64_t qk,
                std::int64_t v, std::int64_t elements, const Workload& load) {
  const std::int64_t flops = checked_product({2, pairs, heads, qk + v}, name + " FLOPs");
  return vector_op(std::move(name), OpKind::attention, flops, elements, load);
}

Op elementwise_op(std::string name, std::int64_t flops, std::int64_t elements,
                  const Workload& load) {
  return vector_op(std::move(name), OpKind::elementwise, flops, elements, load);
}

Op without_backward(Op op) {
  op.backward = {};
  return op;
}

std::vector<Op> layer_ops(const ModelSpec& spec, const LayerKind& kind, const Workload& load) {
  std::vector<Op> ops;
  if (spec.hyper_connections) ops.push_back(hyper_connection_op(spec, load));
  if (kind.attention) {
    std::vector<Op> attention = attention_ops(spec, *kind.attention, load);
    std::move(attention.begin(), attention.end(), std::back_inserter(ops));
  }
  std::vector<Op> mlp = mlp_ops(spec, kind.mlp, load);
  std::move(mlp.begin(), mlp.end(), std::back_inserter(ops));
  return ops;
}

std::vector<Op> global_ops(const ModelSpec& spec, const Workload& load) {
  std::vector<Op> ops;
  if (spec.config.single_moe_block) return ops;
  if (spec.hyper_connections && spec.hyper_connections->head)
    ops.push_back(hyper_connection_head_op(spec, load));
  ops.push_back(lm_head_op(spec, load));
  return ops;
}

std::vector<Op> mtp_ops(const ModelSpec& spec, const Workload& load) {
  const std::int64_t D = spec.emb_dim;
  // Hyper-connections: of every stream, and of the next token's embedding once for all of them.
  const std::int64_t streams = spec.hyper_connections ? spec.hyper_connections->streams : 1;
  std::vector<Op> ops{matmul_op("projection", {{streams + 1, load.sequence_length, D, D}}, load)};
  for (Op& op : layer_ops(spec, spec.mtp_kind(), load)) ops.push_back(std::move(op));
  for (Op& op : global_ops(spec, load)) ops.push_back(std::move(op));
  return ops;
}

std::vector<OpGroup> op_groups(const ModelSpec& spec, const Workload& load) {
  std::vector<OpGroup> groups;
  std::vector<const LayerKind*> kinds;
  for (std::size_t kind = 0; kind < spec.kinds.size(); ++kind) {
    const auto layers = std::count(spec.layers.begin(), spec.layers.end(), static_cast<int>(kind));
    std::vector<Op> ops = layer_ops(spec, spec.kinds[kind], load);
    const auto same = std::find_if(groups.begin(), groups.end(),
                                   [&](const OpGroup& group) { return same_cost(group.ops, ops); });
    if (same != groups.end()) {
      same->layers += layers;
      continue;
    }
    groups.push_back({{}, layers, std::move(ops)});
    kinds.push_back(&spec.kinds[kind]);
  }
  name_groups(groups, kinds);
  if (spec.mtp_layers > 0) groups.push_back({"mtp", spec.mtp_layers, mtp_ops(spec, load)});
  if (std::vector<Op> ops = global_ops(spec, load); !ops.empty())
    groups.push_back({"global", 1, std::move(ops)});
  return groups;
}

ModelFlops model_flops(const std::vector<OpGroup>& groups) {
  ModelFlops total;
  for (const OpGroup& group : groups) {
    for (const Op& op : group.ops) {
      total.forward += op.forward.flops * group.layers;
      total.train += (op.forward.flops + op.backward.flops) * group.layers;
    }
  }
  return total;
}

}  // namespace meshsim
