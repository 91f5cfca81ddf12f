// How the residual streams enter and leave blocks when tensor axes split them.
//
//   X = embed x rows    devices that share the tokens of a block
//   D / embed columns and T / rows tokens of a stream lie on each
//
// A block's products split their heads, hidden columns or vocabulary over all X devices. They need
// the whole input and give partial sums of the output:
//
//             forward                      backward
//   enter     all-gather of T x D          reduce-scatter of its gradient
//   leave     reduce-scatter of T x D      all-gather of its gradient
//
// which is what GSPMD makes of MaxText's constraints on the streams. A norm over split columns adds
// up its sums of squares, one number per token. All of it is on the way to what follows, so that it
// runs in the order of the layer; with X = 1 nothing is emitted.
#pragma once

#include <optional>
#include <string>

#include "program/layer_builder.hpp"

namespace meshsim {

// A stream of `copies` x D columns.
void stream_activation(LayerBuilder& build, Name symbol, std::int64_t copies = 1);

// The whole [T, D] of a stream, on each of the X devices: `stream` itself if X = 1.
Name enter_block(LayerBuilder& build, Name stream);

// A stream of `copies` x D columns with all of them here: `stream` itself if its columns are not
// split.
Name whole_columns(LayerBuilder& build, Name stream, std::int64_t copies);

// Declares where a block writes [T, D]: `stream` itself if X = 1, else partial sums.
Name partial_output(LayerBuilder& build, Name stream);
// Adds them up into `stream`, declared here.
void leave_block(LayerBuilder& build, Name stream);

// out = norm(in), both `copies` streams.
void stream_norm(LayerBuilder& build, Name name, const Names& weights, Name in, Name out,
                 std::int64_t copies = 1);

// Sums over columns of a stream that lie on several devices: one all-reduce after the other, each
// of `numbers` per row. They read `reads` and write `symbol`, which is declared here; backward,
// those of the gradients write "d_" + symbol. Without split columns nothing is emitted.
struct ColumnSum {
  const char* name;
  std::int64_t numbers;
  DType type = DType::float32;
};
void column_sums(LayerBuilder& build, Name symbol, const Names& reads,
                 const std::vector<ColumnSum>& sums);
void column_sums_back(LayerBuilder& build, Name symbol, const Names& reads,
                      const std::vector<ColumnSum>& sums);

// out [T, w n] = in x weights, w kernels of n columns, for a stream `in` and few columns that every
// one of the X devices needs whole (latents). The contraction runs over the columns that lie here;
// the partial sums are added up and the tokens gathered. `type`: of `out`, if not that of
// activations.
void latent_linear(LayerBuilder& build, Name name, const Names& weights, Name in, Name out,
                   std::int64_t n, std::optional<DType> type = {});

}  // namespace meshsim
