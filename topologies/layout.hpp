// How large a tensor is in the HBM of a TPU: XLA's compact layout.
//
// A buffer is stored with two of its dimensions as (second-minor, minor), the pair that gives the
// fewest bytes. With r = 4 / (bytes of an element), the rows that share one 32-bit sublane:
//
//   padded bytes = (product of the other dims) x up(second-minor) x up128(minor) x element bytes
//   up128(n) = n rounded up to a multiple of 128 lanes
//   up(n)    = the smallest of 1, 2, 4, 8 that is >= n and >= r; beyond 8, n rounded up to 8
//   rank 1:    n rounded up to the tile, the smallest power of two >= n within [128 r, 1024]
//   rank 0:    512 bytes
//
// What is stored is a shard: pass the shape that one device holds. A dimension of 0 makes 0 bytes.
//
// Source: with this rule the arguments, outputs and aliases that XLA reported for a published
// DeepSeek-V4 run (MaxText PR 4153, fp32 and int32, with bf16 alternatives) are met to the byte.
// Assumed, not measured: 2-byte types other than bf16 follow it; 1-byte types follow r = 4.
#pragma once

#include <cstdint>
#include <span>

#include "units/dtype.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// Throws Error(invalid_input) on a negative dimension, or when the product exceeds 2^63 - 1.
Bytes padded_bytes(std::span<const std::int64_t> shape, DType type);

}  // namespace meshsim
