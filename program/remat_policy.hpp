// Which results of a layer's forward pass are kept for its backward pass, and where.
//
// MaxText's remat policies name checkpoints; a layer template has symbols. What is kept on the host
// leaves over PCIe after the forward pass and comes back before the backward pass. Everything else
// that the backward pass reads is computed again, from what is kept.
//
// Source: MaxText remat policies, August 2026.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "plans/plan.hpp"
#include "program/layer_template.hpp"

namespace meshsim {

enum class Kept { on_device, on_host };

struct RematPolicy {
  bool everything = false;       // policy `none`
  std::map<Name, Kept> symbols;  // of layer templates
  Kept input = Kept::on_device;  // the input of every block (decoder_layer_input)
};

// Why the policy of `plan` cannot be modelled, or nothing.
std::optional<std::string> not_rematted(const Plan& plan);

RematPolicy remat_policy(const Plan& plan);

// The symbols of `layer` that the policy keeps: those that its backward pass, or a recomputation,
// can use.
std::map<Name, Kept> kept_symbols(const RematPolicy& policy, const LayerTemplate& layer);

}  // namespace meshsim
