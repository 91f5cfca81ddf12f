#include "program/expert_stages.hpp"
#include "program/row_moves.hpp"

#include "units/checked.hpp"

namespace meshsim {

void build_ragged_all_to_all(LayerBuilder& build, const MoeMlp& moe, Name input) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t D = build.plan().model.emb_dim;
  const ExpertRows counts = ragged_rows(build, moe, build.T());
  const auto [n, routed, R, moved] = counts;
  const std::vector<std::string> axes{"expert"};
  const std::int64_t returned = returned_columns(build);
  // Rows that a full buffer drops do not travel: the later sources keep theirs. Average of a
  // device.
  const std::int64_t sent = routed;
  const Bytes rows = build.activation_bytes(sent, D);
  const Bytes rows_back = build.activation_bytes(sent, returned);
  build.routes({1, build.T(), R, Cut::by_source});
  build_choice(build, moe, build.T(), "router_logits");
  build.activation("sent", n, D);
  moved_activation(build, "received", counts, D);
  moved_activation(build, "rows_in", counts, D);
  // All of M is needed for the offsets: every device contributes its row.
  build.activation("shard_counts", P, P, DType::int32);
  build.activation("expert_counts", 1, P * moe.experts, DType::int32);

  build.stage("permute");
  sort_keys(build, "routing", n, "order");
  to_experts(build, input, "order", "sent", {n, D});
  build.stage("dispatch");
  if (moe.shared_width > 0) build_shared(build, moe, input);
  build.forward_beside(build.collective("shard_counts", CollectiveKind::all_gather, axes,
                                        Bytes(4 * P * P), {"routing"}, {"shard_counts"}));
  build.forward_beside(
      build.exchange("dispatch", true, sent, rows, {"sent", "shard_counts"}, {"received"}));
  build.forward_beside(build.collective("expert_counts", CollectiveKind::all_gather, axes,
                                        Bytes(4 * P * moe.experts), {"routing"},
                                        {"expert_counts"}));
  build.backward_beside(
      build.exchange("dispatch_back", false, sent, rows, {"d_received"}, {"d_sent"}));
  build.stage("local_permute");
  sort_keys(build, "expert_counts", moved, "local_order");
  sort_rows(build, "local_sort", "received", "local_order", "rows_in");
  build_experts(build, moe, {counts, ""});
  moved_activation(build, "rows_out", counts, returned);
  moved_activation(build, "rows_sorted_back", counts, returned);
  build.activation("returned", n, returned);
  build.activation("routed_out", build.T(), returned);
  build.stage("local_unpermute");
  sort_rows(build, "local_unsort", "rows_out", "local_order", "rows_sorted_back");
  build.stage("combine");
  build.forward_beside(
      build.exchange("combine", false, sent, rows_back, {"rows_sorted_back"}, {"returned"}));
  build.backward_beside(build.exchange("combine_back", true, sent, rows_back, {"d_returned"},
                                       {"d_rows_sorted_back"}));
  build.stage("unpermute");
  from_experts(build, "returned", "order", "routing", "routed_out", {n, returned});
}

}  // namespace meshsim
