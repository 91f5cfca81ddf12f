// Score functions of the gate, elementwise or over one row, in float32.
//
//   sqrt_softplus(z) = sqrt(max(z, 0) + log1p(exp(-|z|)))    the stable form; never overflows
//   sigmoid(z) = 1 / (1 + exp(-z))       softmax(z)_e = exp(z_e - max z) / sum exp(z - max z)
//
// exp and log1p are polynomials that the compiler vectorises for the machine it meets. They agree
// with libm to 4e-7 relative, and give the same bits on every machine (no fused multiply-add).
#pragma once

#include <cstdint>

namespace meshsim {

enum class Score { identity, softmax, sigmoid, sqrt_softplus };

// scores[i] for rows of `width` logits; in place is allowed.
void score_rows(Score score, const float* logits, std::int64_t rows, std::int64_t width,
                float* scores);

void softmax_row(const float* logits, std::int64_t width, float* probabilities);

// h = silu(g) u;  L > 0: silu(min(g, L)) clip(u, -L, L). In place over g or u is allowed.
void swiglu(const float* g, const float* u, std::int64_t count, float limit, float* h);

// GPT-OSS: g = min(g, L), u = clip(u, -L, L); h = g sigmoid(1.702 g) (u + 1). Clamps for any L.
void gpt_oss_glu(const float* g, const float* u, std::int64_t count, float limit, float* h);

float sigmoid(float z);
float sqrt_softplus(float z);

}  // namespace meshsim
