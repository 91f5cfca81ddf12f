// A layer as stages, before it is laid into a schedule.
//
// A stage is a few operations that use the same weights, with its forward and its backward form.
// Operations name what they read and write by symbols; "d_x" is the gradient of "x". Instantiating
// a template gives each symbol a buffer. Because backward operations say what they read, it follows
// which results must be kept, which operations a rematerialised layer repeats, and which of those
// are dead code.
//
// Where a layer works chunk by chunk, "@2" at the end of a name tells the chunks apart: of symbols,
// and of operations, whose leaves are named without it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "program/local_shapes.hpp"
#include "program/step_program.hpp"
#include "routing/layer_loads.hpp"

namespace meshsim {

using Names = std::vector<Name>;

struct OpTemplate {
  Name name;
  std::variant<Compute, Collective> work;
  Names reads, writes;
  Names spares;                        // read by nothing, freed after it (Leaf::spares)
  std::vector<std::size_t> weights;    // read, as indices into LayerTemplate::weights
  std::vector<std::size_t> gradients;  // written: gradients of these weights
  std::size_t stream = 0;              // beside: the branch that it runs in, after those before it
  std::int32_t index = -1;             // among all operations of the template
  Names after;                         // of the same stage and pass, in other branches: waited for
  Routed routed;                       // its exchange is set when the layer is used
  std::int64_t part = 0;               // of the layer's tokens: which exchange
};

struct Stage {
  Name name;
  std::vector<OpTemplate> forward;
  std::vector<OpTemplate> forward_beside;  // collectives beside `forward`, in streams
  std::vector<OpTemplate> backward;
  std::vector<OpTemplate> backward_beside;

  // The weights that the pass reads, ascending.
  std::vector<std::size_t> weights(bool backward_pass) const;
  // The weights whose gradients the backward pass writes, ascending.
  std::vector<std::size_t> gradients() const;
};

struct Symbol {
  Name category;
  Bytes bytes;                   // of the buffer
  Bytes touched;                 // what an operation moves of it
  std::int64_t routed_rows = 0;  // these bytes are those of so many routed rows; 0: of none
};

// What a layer's routing decides.
struct Exchange {
  std::int64_t parts = 0;    // exchanges, one for each share of the tokens; 0: no experts
  std::int64_t tokens = 0;   // of one device in each
  std::int64_t buffer = -1;  // rows for the local experts: what does not fit is dropped
  Cut cut = Cut::by_source;
};

struct LayerTemplate {
  Name layer_kind;
  std::vector<Weight> weights;
  std::vector<Stage> stages;
  std::map<Name, Symbol> symbols;  // gradients are not listed: d_x is as large as x
  Exchange exchange;
  // 0, or 2: the last two stages, a transfer and what follows it, may run beside the first stage of
  // the same kind of layer after this one; backward, the other way round.
  std::size_t deferred = 0;

  Symbol symbol(Name name) const;
};

// The streams that layers hand on: symbols that every template has, of the same size in all of
// them.
inline constexpr const char* layer_input = "x";
inline constexpr const char* layer_output = "x_out";

// The decoder layer of `kind` for `batch`: DeepSeek-V4's, or a pre-norm transformer's.
LayerTemplate layer_template(const Plan& plan, const LayerKind& kind, const LocalBatch& batch);

// One multi-token-prediction block: the hidden state and the next token's embedding, merged and run
// through one more layer of the last kind. Only for models without hyper-connections.
LayerTemplate mtp_template(const Plan& plan, const LocalBatch& batch);

// `name` as it is in every chunk.
Name without_chunk(Name name);

// Whether the backward pass of the deferred stages needs gradients only: it may then run before the
// layer is computed again.
bool defers_backward(const LayerTemplate& layer);

// The symbols that the forward pass of `layer` writes and its backward pass reads.
std::set<Name> residuals(const LayerTemplate& layer);

// Which forward operations must run again in the backward pass: per stage, per operation
// (forward_beside after forward).
using Recomputation = std::vector<std::vector<bool>>;

// The recomputation when the layer's input and `kept` are still there: the operations that lead to
// what the backward pass reads, or, with `output`, to the layer's output.
Recomputation recomputation(const LayerTemplate& layer, const std::set<Name>& kept, bool output);

}  // namespace meshsim
