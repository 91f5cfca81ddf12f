// Work that the MXU does for shapes that do not fill it.
#pragma once

#include <cstdint>

#include "program/step_program.hpp"

namespace meshsim {

// A product [m, k] x [k, n] runs on whole tiles: m padded to the 8 sublanes of a register, k and n
// to the MXU's side: 2 count up8(m) up(k) up(n) FLOPs.
double padded_flops(const Matmul& product, std::int64_t mxu_size);

// Rows that a grouped product works on when `rows` rows are spread evenly over `groups` groups and
// a tile has `tile` rows: a tile that crosses a boundary is visited once for each group in it.
std::int64_t tiled_rows(std::int64_t rows, std::int64_t groups, std::int64_t tile);

}  // namespace meshsim
