#include "program/expert_stages.hpp"
#include "program/row_moves.hpp"

namespace meshsim {

void build_local(LayerBuilder& build, const MoeMlp& moe, Name input) {
  const ExpertRows rows = local_rows(moe, build.T());
  const std::int64_t D = build.plan().model.emb_dim;
  build.routes({1, build.T(), -1, Cut::by_source});
  build_choice(build, moe, build.T(), "router_logits");
  build.activation("rows_in", rows.buffer, D);
  build.activation("routed_out", build.T(), returned_columns(build));
  build.stage("permute");
  sort_keys(build, "routing", rows.slots, "order");
  to_experts(build, input, "order", "rows_in", {rows.slots, D});
  build_experts(build, moe, {rows, ""});
  build.stage("unpermute");
  from_experts(build, "rows_out", "order", "routing", "routed_out",
               {rows.slots, returned_columns(build)});
  if (moe.shared_width > 0) {
    build.stage("shared");
    build_shared(build, moe, input);
  }
}

}  // namespace meshsim
