#include "moe/scores.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "moe/clones.hpp"

namespace meshsim {
namespace {

[[gnu::always_inline]] inline float two_to(std::int32_t n) {
  return std::bit_cast<float>((n + 127) << 23);
}

// exp for x <= 88: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor to r^7 (error 2e-9), times 2^n in two
// steps, so that results below 2^-126 are rounded and not lost.
[[gnu::always_inline]] inline float exp_of(float x) {
  x = x < -104.0F ? -104.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float scaled = x * 1.44269504F;
  const auto n = static_cast<std::int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F));
  const auto whole = static_cast<float>(n);
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;  // ln 2 in two parts
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::int32_t half = n / 2;
  return p * two_to(half) * two_to(n - half);
}

// log(1 + u) for 0 <= u <= 1: with s = u / (2 + u) <= 1/3 it is 2 artanh(s) = 2 (s + s^3/3 + ...);
// the first term left out is s^17/17, 5e-10 of s.
[[gnu::always_inline]] inline float log1p_of(float u) {
  const float s = u / (2.0F + u);
  const float q = s * s;
  float p = 1.0F / 15.0F;
  p = p * q + 1.0F / 13.0F;
  p = p * q + 1.0F / 11.0F;
  p = p * q + 1.0F / 9.0F;
  p = p * q + 1.0F / 7.0F;
  p = p * q + 1.0F / 5.0F;
  p = p * q + 1.0F / 3.0F;
  return 2.0F * s + 2.0F * s * (p * q);
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
