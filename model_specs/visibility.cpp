#include "model_specs/visibility.hpp"

#include "units/checked.hpp"

namespace meshsim {
namespace {

// 1 + 2 + ... + n
std::int64_t triangle(std::int64_t n) {
  const std::int64_t doubled = checked_multiply(n, n + 1, "query-key pairs");
  return doubled / 2;
}

// sum over n = 1..S of floor(n / r)
std::int64_t floor_sum(std::int64_t r, std::int64_t S) {
  const std::int64_t q = S / r;
  return checked_add(checked_multiply(r, q > 0 ? triangle(q - 1) : 0, "compressed pairs"),
                     checked_multiply(q, S % r + 1, "compressed pairs"), "compressed pairs");
}

}  // namespace

std::int64_t visible_pairs(const Visibility& visibility, std::int64_t S) {
  const std::int64_t W = visibility.window;
  switch (visibility.kind) {
    case Visibility::Kind::full: break;
    case Visibility::Kind::sliding:
      if (S > W)
        return checked_add(triangle(W), checked_multiply(S - W, W, "window pairs"), "window pairs");
      break;
    case Visibility::Kind::chunked:
      return checked_add(checked_multiply(S / W, triangle(W), "chunk pairs"), triangle(S % W),
                         "chunk pairs");
  }
  return triangle(S);
}

std::int64_t compressed_pairs(std::int64_t ratio, std::int64_t limit, std::int64_t S) {
  if (limit < 0 || S / ratio <= limit) return floor_sum(ratio, S);
  // The limit is first met at n = limit * r; every later query sees exactly `limit` entries.
  const std::int64_t first = limit * ratio;
  return checked_add(floor_sum(ratio, first - 1),
                     checked_multiply(limit, S - first + 1, "compressed pairs"),
                     "compressed pairs");
}

}  // namespace meshsim
