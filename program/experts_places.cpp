// dense_matmul with a capacity factor: C places of every expert for each sequence.
//
//   B sequences of S tokens    E experts, E / P here    C = int(max(ceil(S k / E) c, c))
//
//   masks      choices -> dispatch, combine [B S, E C]
//   dispatch   mask^T x           [E C, S] x [S, D]  of every sequence: B E C rows
//   exchange   B E C D over the P devices: each then has E / P experts' places of P B sequences
//   experts    E / P products of P B C rows, places that nobody took included
//   combine    back, then mask rows    [S, E C] x [E C, D]
//
// The masks cost 2 S E C D each, per sequence and pass: as S grows, more than the experts.
//
// Of X devices of the tensor axis each has D / X columns of the tokens and of all rows that travel,
// and an Xth of every expert's width: rows are gathered before the experts and added up after them.
// The masks are the same on all X; of their gradient each has what its columns give.
#include "program/expert_stages.hpp"
#include "program/streams.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

class Places {
 public:
  Places(LayerBuilder& build, const MoeMlp& moe, Name input)
      : build_(build), moe_(moe), input_(input) {
    devices_ = build.plan().mesh.size("expert");
    sequences_ = build.batch().sequences;
    length_ = build.batch().length;
    per_expert_ = capacity(build, moe);
    places_ = checked_multiply(moe.experts, per_expert_, "places of a sequence");
    rows_ = checked_multiply(sequences_, places_, "places");
    declare();
  }

  void run() {
    build_choice(build_, moe_, build_.T(), "router_logits");
    build_.forward(build_.compute("masks", OpKind::elementwise, {}, {}, {"routing"},
                                  {"dispatch_mask", "combine_mask"}));
    // Only the weights that add up have a gradient.
    if (moe_.router)
      build_.backward(build_.compute("masks_back", OpKind::elementwise, {}, {},
                                     {"routing", "d_combine_mask"}, {"d_routing"}));
    put_in_places();
    experts();
    add_up();
  }

 private:
  std::int64_t D() const { return build_.plan().model.emb_dim; }
  bool spread() const { return devices_ > 1; }
  bool split() const { return build_.ways() > 1; }
  std::int64_t columns() const { return returned_columns(build_); }
  // Rows that have arrived, and what the experts return of them before it is added up.
  Name arrived() const { return split() ? "rows_columns" : "rows_in"; }
  Name partial() const { return split() ? "rows_partial" : "rows_out"; }

  void declare() {
    const std::int64_t D = this->D();
    build_.activation("dispatch_mask", build_.T(), places_);
    build_.activation("combine_mask", build_.T(), places_);
    build_.activation("placed", rows_, columns());
    build_.activation(arrived(), rows_, columns());
    build_.activation("rows_in", rows_, D);
    build_.activation("expert_up", rows_, moe_.up_projections * moe_.width);
    build_.activation("expert_hidden", rows_, moe_.width);
    build_.activation(partial(), rows_, D);
    build_.activation("rows_out", rows_, columns());
    build_.activation("returned", rows_, columns());
    build_.activation("routed_out", build_.T(), columns());
  }

  void matmul(const char* name, const Matmul& product, Names reads, Names writes, bool backward) {
    OpTemplate op = build_.compute(name, OpKind::matmul, {product}, FlopCount(), std::move(reads),
                                   std::move(writes));
    if (backward) {
      build_.backward(std::move(op));
    } else {
      build_.forward(std::move(op));
    }
  }

  void exchange(const char* name, Name from, Name to) {
    const Bytes rows = build_.symbol(from).bytes;
    const std::string d = "d_";
    build_.forward_beside(
        build_.collective(name, CollectiveKind::all_to_all, {"expert"}, rows, {from}, {to}));
    build_.backward_beside(build_.collective(std::string(name) + "_back",
                                             CollectiveKind::all_to_all, {"expert"}, rows, {d + to},
                                             {d + from}));
  }

  void put_in_places() {
    build_.stage("dispatch_places");
    const Name to = spread() ? "placed" : arrived();
    matmul("dispatch_places", {sequences_, places_, length_, columns()}, {input_, "dispatch_mask"},
           {to}, false);
    matmul("dispatch_places_dx", {sequences_, length_, places_, columns()},
           {"d_" + to, "dispatch_mask"}, {"d_" + input_}, true);
    if (!spread()) return;
    build_.stage("dispatch");
    if (moe_.shared_width > 0) build_shared(build_, moe_, enter_block(build_, input_));
    exchange("dispatch", "placed", arrived());
  }

  // The mathematics are those of the chosen experts, whatever the places.
  void product(Name name, const Names& weights, Name in, Name out, std::int64_t count,
               std::int64_t k, std::int64_t n) {
    const std::int64_t local = moe_.experts / devices_;
    const std::int64_t m = checked_product({devices_, sequences_, per_expert_}, "places");
    const FlopCount model(
        checked_product({2, count, build_.T(), moe_.top_k, k, n}, "expert FLOPs"));
    build_.linear(name, weights, {in}, {out}, {{count * local, m, k, n}}, model);
  }

  void experts() {
    build_.stage("experts_up");
    if (split())
      build_.transfer("gather_rows", CollectiveKind::all_gather, CollectiveKind::reduce_scatter,
                      build_.axes().within, build_.activation_bytes(rows_, D()), arrived(),
                      "rows_in");
    product("experts_up", up_names(moe_block, moe_.up_projections, ""), "rows_in", "expert_up",
            moe_.up_projections, D(), moe_.width);
    build_activation(build_, moe_, "");
    build_.stage("experts_down");
    product("experts_down", {moe_block + "wo"}, "expert_hidden", partial(), 1, moe_.width, D());
    if (split())
      build_.transfer("reduce_rows", CollectiveKind::reduce_scatter, CollectiveKind::all_gather,
                      build_.axes().within, build_.activation_bytes(rows_, D()), partial(),
                      "rows_out");
    if (moe_.expert_bias)
      build_.vector("experts_down_bias", {moe_block + "wo_bias"}, {}, {"rows_out"}, {},
                    {"rows_out"});
  }

  void add_up() {
    if (spread()) {
      build_.stage("combine");
      exchange("combine", "rows_out", "returned");
    }
    const Name rows = spread() ? "returned" : "rows_out";
    build_.stage("combine_places");
    if (split()) {
      const Name gradient = "d_combine_mask";
      build_.backward(
          build_.collective("sum_mask_gradients", CollectiveKind::all_reduce, build_.axes().within,
                            build_.activation_bytes(build_.T(), places_), {gradient}, {gradient}));
    }
    matmul("combine_places", {sequences_, length_, places_, columns()}, {rows, "combine_mask"},
           {"routed_out"}, false);
    matmul("combine_places_dmask", {sequences_, length_, columns(), places_},
           {"d_routed_out", rows}, {"d_combine_mask"}, true);
    matmul("combine_places_dx", {sequences_, places_, length_, columns()},
           {"d_routed_out", "combine_mask"}, {"d_" + rows}, true);
    if (moe_.shared_width > 0 && !spread()) {
      build_.stage("shared");
      build_shared(build_, moe_, enter_block(build_, input_));
    }
  }

  LayerBuilder& build_;
  const MoeMlp& moe_;
  Name input_;
  std::int64_t devices_ = 1;     // P
  std::int64_t sequences_ = 0;   // B
  std::int64_t length_ = 0;      // S
  std::int64_t per_expert_ = 0;  // C
  std::int64_t places_ = 0;      // E C
  std::int64_t rows_ = 0;        // B E C
};

}  // namespace

void build_places(LayerBuilder& build, const MoeMlp& moe, Name input) {
  Places(build, moe, input).run();
}

}  // namespace meshsim
