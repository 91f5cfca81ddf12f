// Turns stages into leaves: gives symbols, gathered weights and gradients their buffers.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "program/layer_template.hpp"
#include "program/step_templates.hpp"

namespace meshsim {

inline constexpr BufferId no_buffer = -1;

// One use of a layer template.
struct Instance {
  const LayerTemplate* layer = nullptr;
  std::unordered_map<Name, BufferId> symbols;
  std::vector<BufferId> weights;           // gathered copies; no_buffer: used where it rests
  std::vector<BufferId> gradients;         // of the working copies
  std::vector<BufferId> kernel_gradients;  // those that are still to be copied into `gradients`
  std::set<std::size_t> laid_out;          // gathered weights that were copied into their layout
  std::int64_t moe_layer = -1;             // among the layers with experts; -1: routing is balanced
};

class Emitter {
 public:
  // The leaves and buffers of `templates` will say where their numbers come from.
  Emitter(StepProgram& program, const StepTemplates& templates);

  // The numbers of a template of the step.
  const TemplateNumbers& numbers(const LayerTemplate& layer) const;
  // The first of the state's.
  NumberId state_numbers() const { return templates_.back().end(); }

  BufferId buffer(std::string name, Name category, const Amount& size);

  Instance instance(const LayerTemplate& layer);

  // The collectives that gather the weights `which` of `layer` into `weights`: one for each set of
  // mesh axes, or two, over the first of them and over the others.
  std::vector<ProgramNode> gather(const LayerTemplate& layer, const std::vector<std::size_t>& which,
                                  std::vector<BufferId>& weights, Pass pass);
  // The collectives that reduce the gradients `which` into `store`.
  std::vector<ProgramNode> reduce(const LayerTemplate& layer, const std::vector<std::size_t>& which,
                                  const std::vector<BufferId>& gradients, BufferId store);

  // The copy of those gathered weights of `which` that must be relaid (Weight::relaid), in place;
  // nothing where there is none.
  std::vector<ProgramNode> relayout(const Instance& instance, const std::vector<std::size_t>& which,
                                    Pass pass);
  // The copies of those gradients of `which` that their kernel sums in its own layout
  // (Weight::relaid), one after another.
  std::vector<ProgramNode> copy_gradients(Instance& instance,
                                          const std::vector<std::size_t>& which);

  ProgramNode leaf(Instance& instance, const OpTemplate& op, Pass pass);
  // A stage's operations with those beside them. `keep`: which to emit (forward, then
  // forward_beside).
  ProgramNode forward(Instance& instance, const Stage& stage, Pass pass,
                      const std::vector<bool>* keep = nullptr);
  ProgramNode backward(Instance& instance, const Stage& stage);

  // A transfer between the device and its host.
  ProgramNode host_copy(Name name, Name layer_kind, Pass pass, const Amount& bytes,
                        BufferId device_buffer, bool to_host);

  // Bandwidth-bound work on whole buffers, outside any template.
  ProgramNode move(Name name, Name layer_kind, Pass pass, const Amount& hbm_bytes,
                   std::vector<BufferId> reads, std::vector<BufferId> writes);

  // The buffer of a symbol in this use of its layer, made at its first mention.
  BufferId symbol(Instance& instance, Name name);

 private:
  std::vector<BufferId> fetch(const LayerTemplate& layer, const std::vector<std::size_t>& which,
                              std::vector<BufferId>& weights, Pass pass,
                              std::vector<ProgramNode>& nodes);

  // The gradient of a weight's working copy in this use of its layer, made at its first mention;
  // and where its kernel sums it.
  BufferId gradient(Instance& instance, std::size_t id);
  BufferId kernel_gradient(Instance& instance, std::size_t id);

  // The leaves of `main` and, branch by branch, of `beside` that `keep` selects.
  ProgramNode branches(Instance& instance, const std::vector<OpTemplate>& main,
                       const std::vector<OpTemplate>& beside, Pass pass,
                       const std::vector<bool>* keep);

  StepProgram& program_;
  std::vector<TemplateNumbers> templates_;  // by slot
  Mark last_mark_ = 0;
};

// The weights that a layer's forward pass reads; those that its backward pass reads, after the
// recomputation `again`; those that receive gradients.
std::vector<std::size_t> forward_weights(const LayerTemplate& layer);
std::vector<std::size_t> backward_weights(const LayerTemplate& layer, const Recomputation& again);
std::vector<std::size_t> all_gradients(const LayerTemplate& layer);

// The resting gradients of a layer's weights, padded.
Bytes gradient_bytes(const LayerTemplate& layer);

}  // namespace meshsim
