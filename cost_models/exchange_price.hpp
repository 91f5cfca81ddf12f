// An all-to-all of unequal shares on parts of torus axes.
//
//   M[i, p]   slots from rank i to rank p; ranks count row-major over the parts, the last fastest
//
// Slots are routed in the order of the axes, on each the short way; half of those that go exactly
// half way around a ring go either way. Groups at other places of the mesh route alike, so that
// strided ones share their links as in collective_price.cpp.
//
//   links_d    slots on the busiest link of part d, in units of one group
//   ends       max over ranks of the slots that leave and enter a rank: HBM moves both
//   outside    max over ranks of the slots that leave or enter its slice, over their mean
//
// Equal shares give what the closed form of collective_price.cpp gives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cost_models/price.hpp"
#include "routing/count_matrix.hpp"

namespace meshsim {

struct ExchangeTraffic {
  std::vector<double> links;  // per part
  double ends = 0;
  double outside = 1;
};

// Ranks of slice 0 come first, then those of slice 1, ...
ExchangeTraffic exchange_traffic(const CountMatrix& sent, std::span<const PhysicalPart> parts,
                                 std::int64_t slices);

// The price of `work`, an all-to-all in which a slot has `slot_bytes` bytes.
Price price(const Collective& work, const ExchangeTraffic& traffic, double slot_bytes,
            const Machine& machine);

}  // namespace meshsim
