#include "program/batch_split.hpp"
#include "program/expert_stages.hpp"
#include "program/streams.hpp"

namespace meshsim {

Names build_mlp(LayerBuilder& build, const Mlp& mlp, Name stream) {
  if (const auto* dense = std::get_if<DenseMlp>(&mlp)) {
    build.stage("mlp");
    build_dense(build, "mlp/", *dense, "mlp", enter_block(build, stream), "mlp_out");
    return {"mlp_out"};
  }
  MoeMlp moe = std::get<MoeMlp>(mlp);
  moe.width /= build.ways();
  build_router(build, moe, stream);
  // Places are filled from the columns that are here.
  const bool places =
      !build.plan().config.boolean("sparse_matmul") && !experts_are_gathered(build.plan());
  return build_routed(build, moe, places ? stream : enter_block(build, stream));
}

Names build_routed(LayerBuilder& build, const MoeMlp& moe, Name input) {
  const ResolvedConfig& config = build.plan().config;
  if (splits_batch(build.plan())) {
    build_gathered_choices(build, moe, input);
  } else if (experts_are_gathered(build.plan())) {
    build_all_experts(build, moe, input);
  } else if (!config.boolean("sparse_matmul")) {
    build_places(build, moe, input);
  } else if (build.plan().mesh.size("expert") == 1) {
    build_local(build, moe, input);
  } else if (config.integer("num_moe_emb_chunks") > 1) {
    build_embedding_chunks(build, moe, input);
  } else if (config.boolean("use_ring_of_experts")) {
    build_ring_of_experts(build, moe, input);
  } else {
    build_ragged_all_to_all(build, moe, input);
  }
  return moe.shared_width > 0 ? Names{"routed_out", "shared_out"} : Names{"routed_out"};
}

}  // namespace meshsim
