// What a step's time went into, in few words: the causes of its timeline (sim/timeline.hpp) in
// groups.
//
//   ideal_compute     FLOPs of the mathematics at the chip's peak
//   mxu_inefficiency  the same FLOPs: what the sustained rate is below the peak
//   tile_waste        padded tiles, masked blocks, products that a kernel computes again
//   vector_unit       softmax, and starting the blocks of attention kernels
//   row_moves         rows gathered, scattered and sorted by their expert
//   memory_bound      HBM bound the work
//   contention        transfers beside the work used HBM as well
//   exposed_ici       nothing but a collective ran; detail: its mesh axes
//   exposed_dcn       the same, of a collective over axes that lie on DCN alone
//   exposed_host      the same, of a copy to or from the host
//   idle_cores        a kernel ran on one TensorCore, the others of its chip waited
//   bubble            a pipeline's stage had no microbatch
//   imbalance         waiting for the rank whose experts have most rows
//   recompute         any of the first eleven, or idle_cores, while activations were computed
//   again; detail: which
//
// A part is counted once: as imbalance or bubble if it is one, else as recompute, else by its
// cause.
#pragma once

#include <string>
#include <vector>

#include "sim/timeline.hpp"

namespace meshsim {

struct Attribution {
  std::string group;
  std::string detail;  // the cause within the group
  Picoseconds time;
};

// In the order above, then by detail. The times sum to timeline.total exactly.
// `on_dcn`: the mesh axes that lie on DCN alone.
std::vector<Attribution> attribution(const Timeline& timeline,
                                     const std::vector<std::string>& on_dcn = {});

}  // namespace meshsim
