// A training step of one device as a program: what is computed, what is sent, and which buffers
// live when.
//
// The program is a tree in the order in which the device runs it:
//
//   Leaf       one operation: work for the TensorCore, a collective, or a copy to or from the host
//   Sequence   children one after the other
//   Parallel   the first child on the TensorCore; the others, transfers only, beside it. All start
//              together, and it ends when all have ended: an asynchronous start and its done. A
//              leaf may also wait for leaves of other branches (Leaf::after): branches that hand
//              work to each other are a pipeline.
//   Repeat     n times the same body: a scan, which is also XLA's scheduling boundary
//
// Time is when the leaves run, traffic is what the collectives send, memory is which buffers are
// live in program order. All devices run the same program; counts are per device. Nothing here
// knows a chip.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "model_specs/ops.hpp"
#include "program/amount.hpp"
#include "units/name.hpp"
#include "units/quantity.hpp"

namespace meshsim {

using BufferId = std::int32_t;

struct ExpertLoads;  // program/expert_loads.hpp

// A region of HBM. Its life is from the first leaf that writes it to the last that reads or writes
// it; a buffer that a Repeat uses but does not begin lives through the whole Repeat.
struct Buffer {
  std::string name;
  Name category;
  Bytes bytes;
  std::vector<AmountTerm> terms = {};  // where `bytes` comes from, if the program is traced
};

enum class Pass { forward, recompute, backward, optimizer };
std::string_view name(Pass pass);

// What the MXU multiplies. float32 products run as one pass of bfloat16, XLA's default precision.
enum class NumberFormat { bfloat16, int8, fp8 };

// The block of a kernel's grid: m x k of one operand times k x n of the other.
struct KernelTile {
  std::int64_t m = 1, k = 1, n = 1;
};

// Work for the TensorCore.
struct Compute {
  OpKind kind = OpKind::elementwise;
  std::vector<Matmul> matmuls;  // as executed: masked blocks and unused experts included
  std::int64_t groups = 1;      // grouped_matmul: experts whose rows share `matmuls[i].m`
  KernelTile tile;              // grouped_matmul
  bool contracts_rows = false;  // grouped_matmul: the rows are summed over, a weight gradient
  NumberFormat format = NumberFormat::bfloat16;  // of the products' operands
  std::int64_t element_bytes = 2;                // of an operand
  FlopCount model_flops;                         // of the mathematics
  Bytes hbm_bytes;                               // read and written, each operand once
  Bytes gathered;                                // of hbm_bytes: moved row by row through an index
  Bytes scatter_added;          // of hbm_bytes: rows added to others through an unsorted index
  std::int64_t sort_steps = 0;  // of keys: one key in one stage of a sorting network
  std::int64_t scores = 0;      // attention kernels: logits that pass through the softmax
  std::int64_t grid_steps = 0;  // attention kernels
};

enum class CollectiveKind { all_gather, reduce_scatter, all_reduce, all_to_all, permute };
std::string_view name(CollectiveKind kind);

// One collective over the devices that differ only in their place on `mesh_axes`.
struct Collective {
  CollectiveKind kind = CollectiveKind::all_gather;
  std::vector<std::string> mesh_axes;
  std::int64_t group = 1;  // devices that take part
  Bytes payload;  // all_gather: the gathered output; reduce_scatter, all_reduce: the input;
                  // all_to_all: what one device holds, its own share included; permute: what it
                  // passes to the next device of the group, the last to the first
  std::int64_t rounds = 1;  // permute: in so many equal parts, each after the one before

  // What one device sends, which on balanced input is what it receives:
  //   all_gather, reduce_scatter, all_to_all   payload (n - 1) / n
  //   all_reduce                               twice that
  //   permute                                  payload
  Bytes sent() const;
};

// A transfer over PCIe between the device and its host.
struct HostCopy {
  Bytes bytes;
  bool to_host = true;
};

// Where the numbers of a leaf's work come from: an operation of a template, or an amount of bytes
// (and, of a collective, its group).
struct WorkSource {
  std::int32_t slot = -1, op = -1;  // program/step_templates.hpp
  bool traced = false;
  std::vector<AmountTerm> bytes;
  NumberId group = no_number;
};

// What of a leaf follows the routing of tokens to experts. Its work is stated for balanced routing:
// `rows` rows of `bytes` bytes in all.
struct Routed {
  std::int32_t exchange = -1;  // index into StepProgram::loads; -1: nothing, or all is balanced
  std::int64_t rows = 0;
  Bytes bytes;             // Compute: of hbm_bytes; Collective: the payload
  bool to_experts = true;  // Collective: slots travel to their experts; false: back from them
};

// Names a leaf inside one Parallel for those that wait for it; 0: nobody does.
using Mark = std::int32_t;

struct Leaf {
  Name name;
  Name layer_kind;  // "csa", "global", ...
  Pass pass = Pass::forward;
  std::variant<Compute, Collective, HostCopy> work;
  std::vector<BufferId> reads;
  std::vector<BufferId> writes;
  // Buffers that nothing reads here, and that end only after this leaf in a program that has room.
  std::vector<BufferId> spares;
  Mark mark = 0;
  // Leaves of other branches of the innermost Parallel around this one that must have ended. One
  // that is not there (dead code of a recomputation) is not waited for.
  std::vector<Mark> after;
  WorkSource source;
  bool idle = false;  // of a pipeline's stage that has no microbatch: it computes on nothing
  Routed routed;
};

// What a Repeat counts. Plans that differ in the last two, beyond 1, are laid out alike.
enum class RepeatOf { layers, microbatches, loss_tiles };

struct ProgramNode {
  enum class Kind { leaf, sequence, parallel, repeat };
  Kind kind = Kind::sequence;
  Leaf leaf;                           // leaf
  std::vector<ProgramNode> children;   // sequence, parallel; repeat: one
  std::int64_t times = 1;              // repeat
  RepeatOf counts = RepeatOf::layers;  // repeat
  // repeat: how much further the exchanges of its leaves are in each repeat than in the one before.
  std::int32_t exchange_stride = 0;
};

void append(std::vector<ProgramNode>& to, std::vector<ProgramNode> from);

ProgramNode leaf_node(Leaf leaf);
ProgramNode sequence(std::vector<ProgramNode> children);
// `main` alone if there is nothing beside it.
ProgramNode parallel(ProgramNode main, std::vector<ProgramNode> beside);
ProgramNode parallel(ProgramNode main, ProgramNode beside);
// The body alone for times == 1; an empty sequence for 0.
ProgramNode repeat(std::int64_t times, ProgramNode body, RepeatOf counts = RepeatOf::layers,
                   std::int32_t exchange_stride = 0);

// `body` as a stage of a pipeline runs it without a microbatch: the mathematics asks for none of
// it.
ProgramNode idle(ProgramNode body);

// The exchanges of the leaves of `body`, `by` further on.
void move_exchanges(ProgramNode& body, std::int32_t by);

struct StepProgram {
  ProgramNode root;
  std::vector<Buffer> buffers;  // temporary ones: arguments are not among them
  Amount host;                  // activations kept on the host
  std::int64_t tokens = 0;      // per device and step
  FlopCount model_flops;        // forward and backward of the mathematics, per device and step
  std::vector<std::string> assumptions;
  bool traced = true;  // every size says where it comes from, except where leaves do not
  std::shared_ptr<const ExpertLoads> loads;  // null: every expert receives as many rows
  std::int64_t routed_slots = 0;             // of one expert-parallel group and step
  std::int64_t dropped_slots = 0;            // of them: found no place in a buffer
};

// Calls visit(leaf, times) for every leaf with the number of times it runs.
template <class Visitor>
void for_each_leaf(const ProgramNode& node, Visitor&& visit, std::int64_t times = 1) {
  if (node.kind == ProgramNode::Kind::leaf) {
    visit(node.leaf, times);
    return;
  }
  const std::int64_t inner = node.kind == ProgramNode::Kind::repeat ? times * node.times : times;
  for (const ProgramNode& child : node.children) for_each_leaf(child, visit, inner);
}

}  // namespace meshsim
