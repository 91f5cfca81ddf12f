// What keeps the experts evenly loaded while they are trained.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/tensor.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

// loss = mean_{b,e}(f q) E^2 weight, with f[b,e] = slots of sequence b on e / S (sums to k),
// q[b,e] = mean_s softmax_E(gate_logits[b,s])_e. gate_logits [B S, E] are the values after score
// and bias, as MaxText has it. Perfect balance gives k weight. The mean over N equal chunks of the
// sequence is what num_moe_token_chunks = N reports instead.
double load_balance_loss(const Tensor<float>& gate_logits, std::span<const ExpertId> ids,
                         std::int64_t sequence, std::int64_t top_k, double weight,
                         std::int64_t chunks = 1);

// u[e] = rate sign(N/E - count[e]), N the number of slots, real division; b + u is the next bias.
std::vector<float> bias_update(std::span<const std::int64_t> counts, float rate);

}  // namespace meshsim
