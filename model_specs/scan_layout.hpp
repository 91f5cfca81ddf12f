// How the decoder's layers are grouped into scans.
//
// MaxText either unrolls layers or scans over blocks of them; a scan stacks the tensors of the
// layers it repeats and is also XLA's scheduling boundary.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model_specs/model_spec.hpp"

namespace meshsim {

// Layers first, first+1, ... first + block*repeats - 1. A scan runs `block` consecutive layers per
// step, `repeats` times; an unrolled layer is a segment of one layer outside any scan.
struct Segment {
  std::string name;        // "layers", "dense_layers", "scanned_blocks", "layers_2"
  std::string stack_axis;  // logical axis of the stacked dimension
  std::size_t first = 0;
  std::size_t block = 1;
  std::size_t repeats = 1;
  bool scanned = false;

  bool operator==(const Segment&) const = default;
};

struct ScanLayout {
  std::vector<Segment> segments;

  bool operator==(const ScanLayout&) const = default;
};

// The layout of MaxText's decoders:
//   deepseek4           unrolled hash layers, a scan of pairs, an unrolled suffix
//   deepseek, hunyuan3  a scan of the dense layers, a scan of the MoE layers
//   others              one scan of blocks of inhomogeneous_layer_cycle_interval layers
// With scan_layers = false every layer is unrolled. Throws Error(invalid_input) when the layers do
// not repeat as the scan demands.
ScanLayout scan_layout(const ModelSpec& spec, bool scan_layers);

}  // namespace meshsim
