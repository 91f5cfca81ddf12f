// The `meshsim:` block of a plan file, and the flags of the same names: what MaxText has no key
// for.
#pragma once

#include <string>

#include "inputs/node.hpp"

namespace meshsim {

//   slice_shape  "4x8x8" or [4, 8, 8]: the physical torus, where it is not the slice name's own
//   software     a mapping of feature name to value: XLA and libtpu settings of the run
//   overlap      none, xla (default) or ideal: how transfers run beside work (plans/software.hpp)
//   allow        a list of refusal ids that are lifted for a what-if (plans/refusals.hpp)
//   routing      which experts top-k layers choose; hash_table, token_law: which the hash-routed
//                ones do (routing/routing_scenario.hpp)
//   moe_block    one MoE layer alone, forward and backward, as micro-benchmarks run it: a mapping
//   of
//                dispatch_variant ("ring_legacy", "ring" or "ragged_a2a") and
//                shared_expert_mlp_dim (default: that of the model)
//   calibration  the path of a calibration/1 file, in place of the one that comes with meshsim
// Records a fault and returns false unless `key` is one of these with a value of its form.
bool check_own_key(const std::string& key, const Node& value, const Location& where,
                   Diagnostics& faults);

}  // namespace meshsim
