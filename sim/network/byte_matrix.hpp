// Who sends how many bytes to whom: a square matrix from a file, row = source.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inputs/source.hpp"
#include "sim/network/collective.hpp"
#include "units/quantity.hpp"

namespace meshsim {

struct ByteMatrix {
  std::int64_t size = 0;
  std::vector<std::int64_t> bytes;  // row-major, each 0 to 2^53

  std::int64_t at(std::int64_t from, std::int64_t to) const {
    return bytes[static_cast<std::size_t>(from * size + to)];
  }
};

// JSON (a list of lists) or CSV (one row a line), `size` rows of `size` integers. Throws
// Error(invalid_input) with the place of a row or entry that is missing, too many, no integer,
// negative or huge, and if all entries sum to more than 2^62 bytes.
ByteMatrix parse_byte_matrix(const Source& source, std::int64_t size);

// The bytes over every link when `matrix` is sent on `torus`, dimension-ordered along axis 0 first;
// chips as the torus numbers them. What a chip sends to itself crosses none. O(P^2) additions: for
// each axis the messages are summed by ring, source and destination on it, and each ring then lays
// its n^2 sums over its links by prefix sums of where they begin and end.
struct MatrixLoads {
  std::vector<double> bytes;  // by LinkId
  LinkId busiest = 0;
};
MatrixLoads matrix_loads(const ByteMatrix& matrix, const Torus& torus,
                         HalfwayTies ties = HalfwayTies::one_way, bool both_directions = true);

// The makespan that follows from loads when nothing else uses the links:
//
//   max( lambda + max_l load_l / w,  max_f hops_f lambda + b_f / w )
//
// No sharing can be faster. It is met where the busiest link is never idle: always if transfers are
// paced in proportion to their bytes (all that cross it then end with it), and under equal shares
// unless flows over it wait for links that are shared by more.
Picoseconds makespan_from_loads(const ByteMatrix& matrix, const MatrixLoads& loads,
                                const Torus& torus, const NetworkSpeed& speed,
                                HalfwayTies ties = HalfwayTies::one_way,
                                bool both_directions = true);

}  // namespace meshsim
