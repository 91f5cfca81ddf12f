#include "moe/scores.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "moe/clones.hpp"

namespace meshsim {
namespace {

// exp for x <= 0: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial in r (minimax fit by Remez
// exchange, relative error 8e-8), times 2^(n + 64) and 2^-64, so that results below 2^-126 are
// rounded and not lost.
[[gnu::always_inline]] inline float exp_of(float x) {
  constexpr float to_integer = 0x1.8p23F;  // a sum with it has no fraction bits: n is its low bits
  x = x < -104.0F ? -104.0F : x;
  const float shifted = x * 1.44269504F + to_integer;
  const float whole = shifted - to_integer;
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;  // ln 2 in two parts
  float p = 8.2976552e-3F;
  p = p * r + 4.1915382e-2F;
  p = p * r + 0.16667575F;
  p = p * r + 0.49998895F;
  p = p * r + 0.99999969F;
  p = p * r + 1.0F;
  constexpr std::uint32_t bias = 127 + 64;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + bias) << 23;
  return p * std::bit_cast<float>(exponent) * 0x1p-64F;
}

// log(1 + u) for 0 <= u <= 1: u times a polynomial (minimax fit by Remez exchange to log(1 + u) /
// u, relative error 3e-8).
[[gnu::always_inline]] inline float log1p_of(float u) {
  float p = 5.2326941e-3F;
  p = p * u - 2.9505237e-2F;
  p = p * u + 7.8225948e-2F;
  p = p * u - 0.13663245F;
  p = p * u + 0.19106006F;
  p = p * u - 0.24842982F;
  p = p * u + 0.33319097F;
  p = p * u - 0.49999493F;
  p = p * u + 1.0F;
  return u * p;
}

[[gnu::always_inline]] inline float sigmoid_of(float z) {
  const float e = exp_of(z < 0 ? z : -z);  // never overflows
  return (z < 0 ? e : 1.0F) / (1.0F + e);
}

[[gnu::always_inline]] inline float sqrt_softplus_of(float z) {
  const float positive = z > 0 ? z : 0.0F;
  return __builtin_sqrtf(positive + log1p_of(exp_of(z < 0 ? z : -z)));
}

MESHSIM_CLONES void sigmoid_all(const float* z, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = sigmoid_of(z[i]);
}

MESHSIM_CLONES void sqrt_softplus_all(const float* z, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = sqrt_softplus_of(z[i]);
}

MESHSIM_CLONES void exp_minus(const float* z, std::int64_t count, float shift, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = exp_of(z[i] - shift);
}

MESHSIM_CLONES void swiglu_all(const float* g, const float* u, std::int64_t count, float limit,
                               float* h) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float gate = g[i] > limit ? limit : g[i];
    const float up = u[i] > limit ? limit : u[i] < -limit ? -limit : u[i];
    h[i] = gate * sigmoid_of(gate) * up;
  }
}

MESHSIM_CLONES void gpt_oss_all(const float* g, const float* u, std::int64_t count, float limit,
                                float* h) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float gate = g[i] > limit ? limit : g[i];
    const float up = u[i] > limit ? limit : u[i] < -limit ? -limit : u[i];
    h[i] = gate * sigmoid_of(1.702F * gate) * (up + 1.0F);
  }
}

}  // namespace

void softmax_row(const float* logits, std::int64_t width, float* probabilities) {
  if (width == 0) return;
  const float most = *std::max_element(logits, logits + width);
  exp_minus(logits, width, most, probabilities);
  float sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += probabilities[i];
  for (std::int64_t i = 0; i < width; ++i) probabilities[i] /= sum;
}

void score_rows(Score score, const float* logits, std::int64_t rows, std::int64_t width,
                float* scores) {
  switch (score) {
    case Score::identity:
      if (scores != logits) std::copy_n(logits, rows * width, scores);
      return;
    case Score::softmax:
      for (std::int64_t t = 0; t < rows; ++t)
        softmax_row(logits + t * width, width, scores + t * width);
      return;
    case Score::sigmoid: sigmoid_all(logits, rows * width, scores); return;
    case Score::sqrt_softplus: sqrt_softplus_all(logits, rows * width, scores); return;
  }
}

void swiglu(const float* g, const float* u, std::int64_t count, float limit, float* h) {
  swiglu_all(g, u, count, limit > 0 ? limit : HUGE_VALF, h);
}

void gpt_oss_glu(const float* g, const float* u, std::int64_t count, float limit, float* h) {
  gpt_oss_all(g, u, count, limit, h);
}

float sigmoid(float z) { return sigmoid_of(z); }
float sqrt_softplus(float z) { return sqrt_softplus_of(z); }

}  // namespace meshsim
