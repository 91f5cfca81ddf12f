// Work that the MXU does for shapes that do not fill it.
#pragma once

#include <cstdint>

#include "program/step_program.hpp"

namespace meshsim {

// A product [m, k] x [k, n] runs on whole tiles: m padded to the 8 sublanes of a register, k and n
// to the MXU's side: 2 count up8(m) up(k) up(n) FLOPs.
double padded_flops(const Matmul& product, std::int64_t mxu_size);

// Rows that a grouped product works on when `rows` rows belong to `groups` groups and a tile has
// `tile` rows. A tile that crosses a boundary is visited once for each group in it, and where
// groups end is left to the router: even where they are alike on average, a boundary falls on that
// of a tile once in `tile` times, which is taken as never.
//   visits = ceil(rows / tile) + groups - 1
std::int64_t tiled_rows(std::int64_t rows, std::int64_t groups, std::int64_t tile);

}  // namespace meshsim
