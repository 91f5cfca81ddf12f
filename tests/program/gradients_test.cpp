// Every weight is used, and every gradient is made and reduced once per use.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "plans/state.hpp"
#include "program/outer_templates.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Weights that no operation reads, and why.
bool unread(const Weight& weight) {
  // Rows of a table of token ids are looked up: a few bytes a token.
  if (weight.name.ends_with("tid2eid")) return true;
  // Added to scores before the choice, moved by the sign of the load: no gradient, E numbers.
  if (weight.name.ends_with("gate/bias") && !weight.trainable) return true;
  // Inherited by MLA from plain attention and never used.
  return weight.name == "self_attention/key/kernel" || weight.name == "self_attention/value/kernel";
}

struct Uses {
  int read = 0, read_back = 0, gradient = 0;
};

std::vector<Uses> uses(const LayerTemplate& layer) {
  std::vector<Uses> all(layer.weights.size());
  for (const Stage& stage : layer.stages) {
    for (const auto* ops : {&stage.forward, &stage.forward_beside}) {
      for (const OpTemplate& op : *ops) {
        CHECK(op.gradients.empty());
        for (const std::size_t id : op.weights) ++all[id].read;
      }
    }
    for (const auto* ops : {&stage.backward, &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) {
        for (const std::size_t id : op.weights) ++all[id].read_back;
        for (const std::size_t id : op.gradients) ++all[id].gradient;
      }
    }
  }
  return all;
}

void check_weights(const LayerTemplate& layer, bool latent) {
  const std::vector<Uses> all = uses(layer);
  for (std::size_t id = 0; id < all.size(); ++id) {
    const Weight& weight = layer.weights[id];
    INFO(layer.layer_kind << " " << weight.name);
    const bool idle = unread(weight) &&
                      (latent || !weight.trainable || !weight.name.starts_with("self_attention/"));
    CHECK(all[id].read == (idle ? 0 : 1));
    if (weight.gradient && !idle) CHECK(all[id].gradient == 1);
    if (!weight.gradient) CHECK(all[id].gradient == 0);
  }
}

// The symbols that operations of one stage hand to those that run beside them: there must be none.
void check_beside(const LayerTemplate& layer) {
  for (const Stage& stage : layer.stages) {
    for (const auto& [main, beside] : {std::pair{&stage.forward, &stage.forward_beside},
                                       std::pair{&stage.backward, &stage.backward_beside}}) {
      for (const auto& [writers, readers] : {std::pair{main, beside}, std::pair{beside, main}}) {
        for (const OpTemplate& writer : *writers) {
          for (const OpTemplate& reader : *readers) {
            for (const std::string& symbol : reader.reads) {
              INFO(layer.layer_kind << " " << writer.name << " -> " << reader.name);
              CHECK(std::find(writer.writes.begin(), writer.writes.end(), symbol) ==
                    writer.writes.end());
            }
          }
        }
      }
    }
  }
}

// Operations read only what stands before them: the layer's input, earlier results, and, in the
// backward pass, residuals and gradients that a later operation of the layer has written.
void check_order(const LayerTemplate& layer) {
  std::set<std::string> known{layer_input};
  const auto run = [&](const std::vector<OpTemplate>& ops) {
    for (const OpTemplate& op : ops) {
      for (const std::string& read : op.reads) {
        INFO(layer.layer_kind << " " << op.name << " reads " << read);
        CHECK(known.contains(read));
      }
      known.insert(op.writes.begin(), op.writes.end());
    }
  };
  for (const Stage& stage : layer.stages) {
    run(stage.forward);
    run(stage.forward_beside);
  }
  known.insert(std::string("d_") + layer_output);
  for (auto stage = layer.stages.rbegin(); stage != layer.stages.rend(); ++stage) {
    run(stage->backward);
    run(stage->backward_beside);
  }
  if (layer.layer_kind != "global") CHECK(known.contains(std::string("d_") + layer_input));
}

void check_layers(const Words& words) {
  INFO(words[0] + " " + words.back());
  const Plan plan = plan_of(words);
  const LocalBatch batch = local_batch(plan);
  for (const LayerKind& kind : plan.model.kinds) {
    const LayerTemplate layer = layer_template(plan, kind, batch);
    check_weights(layer, std::holds_alternative<LatentAttention>(kind.attention->form));
    check_beside(layer);
    check_order(layer);
  }
  for (const LayerTemplate& layer : {embedding_template(plan, batch), head_template(plan, batch)}) {
    check_weights(layer, false);
    check_order(layer);
  }
}

}  // namespace

TEST_CASE("every weight is read once forward and has its gradient written once",
          "[program][gradients]") {
  for (const std::string& model : lowering_models()) {
    check_layers(job(model, "v5p-16"));
    check_layers(job(model, "v5p-16", {"attention=flash", "use_tokamax_splash=true"}));
    const Plan plan = plan_of(job(model, "v5p-16"));
    if (!plan.model.has_experts()) continue;
    check_layers(job(model, "v5p-16", {"ici_expert_parallelism=2", "ici_fsdp_parallelism=-1"}));
    check_layers(job(model, "v5p-16", {"sparse_matmul=false", "capacity_factor=-1"}));
    if (plan.model.is_deepseek4()) continue;
    check_layers(
        job(model, "v5p-16",
            {"ici_expert_parallelism=2", "ici_fsdp_parallelism=-1", "use_ring_of_experts=true"}));
  }
}

TEST_CASE("a step reads only what it has written, and reduces what it has made",
          "[program][gradients]") {
  const std::vector<Words> variants{{"remat_policy=full"},
                                    {"remat_policy=none"},
                                    {"scan_layers=false"},
                                    {"scan_layers=false", "remat_policy=none"},
                                    {"gradient_accumulation_steps=2"}};
  for (const std::string& model : lowering_models()) {
    for (const Words& variant : variants) {
      const Plan plan = plan_of(job(model, "v5p-16", variant));
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        INFO(model << " " << variant.front() << " " << name(prefetch));
        const StepProgram program = lower(plan, prefetch);
        std::set<BufferId> written;
        std::map<BufferId, int> made;
        std::map<BufferId, int> taken;
        for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
          for (const BufferId id : leaf.reads) {
            INFO(leaf.layer_kind << " " << leaf.name << " reads " << buffer_of(program, id).name);
            CHECK(written.contains(id));
            if (buffer_of(program, id).category == "local_gradients") ++taken[id];
          }
          for (const BufferId id : leaf.writes) {
            written.insert(id);
            if (buffer_of(program, id).category == "local_gradients") ++made[id];
          }
        });
        for (const auto& [id, times] : made) {
          INFO(buffer_of(program, id).name);
          CHECK(times == 1);
          // A weight that is sharded on one axis and replicated on another is scattered, then
          // summed; on this mesh of one axis it is one or the other.
          CHECK(taken[id] == 1);
        }
      }
    }
  }
}

TEST_CASE("gradients rest in the weights' dtype, once for tied tables", "[program][gradients]") {
  // The stores hold what the parameters hold, but for padding: stacked layers pad together. One
  // layer of the models that tie their tables, so that a table counts.
  for (const std::string& model : lowering_models()) {
    for (const char* accumulation : {"1", "2"}) {
      INFO(model << " " << accumulation);
      Words words{std::string("gradient_accumulation_steps=") + accumulation};
      if (plan_of(job(model, "v5p-16")).model.tied_embedding)
        words.emplace_back("base_num_decoder_layers=1");
      const Plan plan = plan_of(job(model, "v5p-16", words));
      Bytes stores;
      for (const Buffer& buffer : lower(plan, Prefetch::layer).buffers) {
        if (buffer.category == "gradients" && buffer.name != "accumulated gradients")
          stores += buffer.bytes;
      }
      Bytes parameters;
      for (const StateBuffer& buffer : training_state(plan).buffers) {
        if (buffer.category == "parameters") parameters += buffer.bytes;
      }
      CHECK(stores / parameters == Approx(1).epsilon(0.02));
    }
  }
}
