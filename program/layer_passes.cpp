#include "program/layer_passes.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace meshsim {
namespace {

bool any(const std::vector<bool>& flags) {
  return std::find(flags.begin(), flags.end(), true) != flags.end();
}

// The weights of the operations of `stage` that run; nullptr: of all.
std::vector<std::size_t> running_weights(const Stage& stage, const std::vector<bool>* keep) {
  if (keep == nullptr) return stage.weights(false);
  std::set<std::size_t> all;
  for (std::size_t i = 0; i < stage.forward.size(); ++i) {
    const OpTemplate& op = stage.forward[i];
    if ((*keep)[i]) all.insert(op.weights.begin(), op.weights.end());
  }
  return {all.begin(), all.end()};
}

// Those of `which` that have no copy yet.
std::vector<std::size_t> missing(const std::vector<std::size_t>& which,
                                 const std::vector<BufferId>& copies) {
  std::vector<std::size_t> rest;
  for (const std::size_t id : which) {
    if (copies[id] == no_buffer) rest.push_back(id);
  }
  return rest;
}

std::vector<BufferId> none(const Instance& instance) {
  return std::vector<BufferId>(instance.weights.size(), no_buffer);
}

}  // namespace

std::vector<ProgramNode> LayerPasses::lay_out(Instance& instance,
                                              const std::vector<std::size_t>& which, Pass pass,
                                              bool ends) {
  std::vector<std::size_t> fresh;
  for (const std::size_t id : which) {
    if (ends || instance.laid_out.insert(id).second) fresh.push_back(id);
  }
  return emit_.relayout(instance, fresh, pass);
}

std::vector<ProgramNode> LayerPasses::by_stage(Instance& instance, Pass pass,
                                               const Recomputation* keep, bool stay,
                                               Instance* before) {
  const std::vector<Stage>& stages = instance.layer->stages;
  const std::size_t last =
      stages.size() - (pass == Pass::forward ? instance.layer->deferred : std::size_t{0});
  std::vector<std::size_t> running;
  for (std::size_t s = 0; s < last; ++s) {
    if (keep == nullptr || any((*keep)[s])) running.push_back(s);
  }
  std::vector<ProgramNode> nodes;
  nodes.reserve(running.size() + 1);
  const auto kept = [&](std::size_t s) { return keep == nullptr ? nullptr : &(*keep)[s]; };
  const auto gathered = [&](std::size_t s, std::vector<BufferId>& copies) {
    const std::vector<std::size_t> used = running_weights(stages[s], kept(s));
    return emit_.gather(*instance.layer, missing(used, copies), copies, pass);
  };
  for (std::size_t i = 0; i < running.size(); ++i) {
    const std::size_t s = running[i];
    if (ahead()) {
      append(nodes, lay_out(instance, running_weights(stages[s], kept(s)), pass, false));
      ProgramNode stage = emit_.forward(instance, stages[s], pass, kept(s));
      if (i > 0 || before == nullptr) {
        nodes.push_back(std::move(stage));
        continue;
      }
      std::vector<ProgramNode> left = deferred(*before);
      nodes.push_back(parallel(std::move(stage), std::move(left.front())));
      nodes.push_back(std::move(left.back()));
      continue;
    }
    if (i == 0) append(nodes, gathered(s, instance.weights));
    std::vector<BufferId> next = stay ? instance.weights : none(instance);
    std::vector<ProgramNode> beside;
    if (i + 1 < running.size()) beside = gathered(running[i + 1], next);
    std::vector<ProgramNode> stage =
        lay_out(instance, running_weights(stages[s], kept(s)), pass, !stay);
    stage.push_back(emit_.forward(instance, stages[s], pass, kept(s)));
    ProgramNode main = sequence(std::move(stage));
    nodes.push_back(beside.empty() ? std::move(main)
                                   : parallel(std::move(main), sequence(std::move(beside))));
    instance.weights = std::move(next);
  }
  return nodes;
}

std::vector<ProgramNode> LayerPasses::deferred(Instance& instance) {
  const std::vector<Stage>& stages = instance.layer->stages;
  std::vector<ProgramNode> nodes;
  for (std::size_t s = stages.size() - instance.layer->deferred; s < stages.size(); ++s)
    nodes.push_back(emit_.forward(instance, stages[s], Pass::forward));
  return nodes;
}

ProgramNode LayerPasses::forward(Instance& instance, Beside beside, Instance* before) {
  ProgramNode main = sequence(by_stage(instance, Pass::forward, nullptr, false, before));
  if (beside.empty()) return main;
  return parallel(std::move(main), sequence(std::move(beside)));
}

std::vector<ProgramNode> LayerPasses::recompute(Instance& instance, const Recomputation& again) {
  return by_stage(instance, Pass::recompute, &again, stays());
}

std::vector<ProgramNode> LayerPasses::backward(Instance& instance, BufferId store, bool alone,
                                               bool begun, Instance* next_layer) {
  const LayerTemplate& layer = *instance.layer;
  std::vector<ProgramNode> nodes;
  nodes.reserve(2 * layer.stages.size());
  const bool held = instance.weights != none(instance);  // by the recomputation
  std::vector<std::size_t> pending;  // gradients of the stage before, to be reduced beside this one
  // By stage: the gradients that no stage before it adds to later. They are whole.
  std::vector<std::vector<std::size_t>> whole(layer.stages.size());
  std::set<std::size_t> added;
  for (std::size_t s = 0; s < layer.stages.size(); ++s) {
    for (const std::size_t id : layer.stages[s].gradients()) {
      if (added.insert(id).second) whole[s].push_back(id);
    }
  }
  const auto reduced = [&] { return emit_.reduce(layer, pending, instance.gradients, store); };
  for (std::size_t s = layer.stages.size() - (begun ? layer.deferred : 0); s-- > 0;) {
    const Stage& stage = layer.stages[s];
    if (stage.backward.empty() && stage.backward_beside.empty()) continue;
    const auto main_of = [&] {
      std::vector<ProgramNode> all = lay_out(instance, stage.weights(true), Pass::backward, false);
      all.push_back(emit_.backward(instance, stage));
      return all;
    };
    if (ahead()) {
      if (s == 0 && next_layer != nullptr) {
        const std::vector<Stage>& stages = next_layer->layer->stages;
        nodes.push_back(emit_.backward(*next_layer, stages.back()));
        nodes.push_back(
            parallel(sequence(main_of()), emit_.backward(*next_layer, stages[stages.size() - 2])));
      } else {
        append(nodes, main_of());
      }
      append(nodes, emit_.copy_gradients(instance, whole[s]));
      continue;
    }
    const auto gathered = [&](const Stage& of, std::vector<BufferId>& copies) {
      return emit_.gather(layer, missing(of.weights(true), copies), copies, Pass::backward);
    };
    if (nodes.empty()) append(nodes, gathered(stage, instance.weights));
    std::vector<BufferId> next = held ? instance.weights : none(instance);
    std::vector<ProgramNode> beside;
    for (std::size_t before = s; before-- > 0;) {
      const Stage& following = layer.stages[before];
      if (following.backward.empty() && following.backward_beside.empty()) continue;
      beside = gathered(following, next);
      break;
    }
    if (!alone) append(beside, reduced());
    ProgramNode main = sequence(main_of());
    nodes.push_back(beside.empty() ? std::move(main)
                                   : parallel(std::move(main), sequence(std::move(beside))));
    append(nodes, emit_.copy_gradients(instance, whole[s]));
    instance.weights = std::move(next);
    if (!alone) pending.clear();
    for (const std::size_t id : whole[s]) {
      if (layer.weights[id].gradient) pending.push_back(id);
    }
  }
  if (!ahead()) append(nodes, reduced());
  return nodes;
}

}  // namespace meshsim
