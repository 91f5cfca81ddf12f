// The closed forms that op lists are made of.
#pragma once

#include <string>
#include <vector>

#include "model_specs/ops.hpp"

namespace meshsim {

// activations [m, k] x weights [k, n], each in `matmuls`.
//   forward   2 m k n FLOPs; reads m k and k n, writes m n
//   backward  dX = dY W^T and dW = X^T dY: twice the FLOPs and the bytes
Op matmul_op(std::string name, std::vector<Matmul> matmuls, const Workload& load);

// The same for routed rows: `rows` rows in all meet the weights of `experts` experts.
Op grouped_matmul_op(std::string name, std::vector<Matmul> matmuls, std::int64_t experts,
                     const Workload& load);

// `pairs` visited (query, key) pairs of `heads` heads with query/key width qk and value width v:
//   forward   2 pairs heads (qk + v) FLOPs; bytes are `elements` activations moved
//   backward  twice the FLOPs (dQ, dK, dP, dV)
Op attention_op(std::string name, std::int64_t pairs, std::int64_t heads, std::int64_t qk,
                std::int64_t v, std::int64_t elements, const Workload& load);

// Bandwidth-bound work: `flops` and `elements` activations moved forward, twice both backward.
Op elementwise_op(std::string name, std::int64_t flops, std::int64_t elements,
                  const Workload& load);

// The same op when nothing uses its gradient.
Op without_backward(Op op);

std::vector<Op> attention_ops(const ModelSpec& spec, const Attention& attention,
                              const Workload& load);
std::vector<Op> mlp_ops(const ModelSpec& spec, const Mlp& mlp, const Workload& load);

}  // namespace meshsim
