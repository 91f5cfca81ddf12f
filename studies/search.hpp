// The space around a request: what a user would try by hand, built from what the request leaves
// open.
//
// A key that the request states stays as it is. Otherwise
//
//   compile_topology        every v5p slice whose chips are a power of two
//   ici_*                   expert, context and (dense models) tensor degrees in powers of two,
//   with
//                           fsdp over the rest; meshes that do not divide the devices are left out
//   use_ring_of_experts,    the ragged all-to-all; a ring of experts, whole, in chunks of its
//   tokens num_moe_*_chunks        and in slices of its embedding (models of experts, expert degree
//   > 1) remat_policy            every policy that is modelled, and custom ones
//   per_device_batch_size   1, 2, 4, 8, 16
//
// Custom remat policies are a ladder over groups of tensors, from those whose recomputation costs
// most for their bytes to those that cost least (attention output, its projections, MLP outputs,
// MLP inputs): the first k groups kept on the device, or on the host, the others computed again;
// each with the layers' inputs on the device and on the host. With remat_policy=custom stated,
// those of its tensors that the request states stay as they are.
#pragma once

#include "studies/sweep/space.hpp"

namespace meshsim {

// Throws Error as resolve_config does.
SweepSpace search_space(const PlanRequest& request);

}  // namespace meshsim
