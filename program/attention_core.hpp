// The core of attention: softmax(q k^T) v, as `dot_product` or as flash kernels, with what the
// devices of a split context exchange before and after it.
//
// Reads the symbols "q" [T, heads x qk_width] and those of the keys; writes "context"
// [T, heads x v_width]. Widths and heads are those of this device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program/layer_builder.hpp"

namespace meshsim {

// A symbol that holds keys, values or both, [rows, columns].
struct AttentionKeys {
  Name symbol;
  std::int64_t rows, columns;
};

// For `heads` heads, over raw tokens and compressed entries.
struct AttentionCore {
  std::int64_t heads, qk_width, v_width;
  std::vector<AttentionKeys> keys;
  Names extra;    // read only: masks
  Names weights;  // sinks
  Visibility visibility;
  std::int64_t ratio = 0;   // of compressed entries; 0: none
  std::int64_t limit = -1;  // most entries a query attends to; -1: all visible ones

  // Where heads are exchanged for tokens, other symbols than those of the layer.
  Name queries = "q";
  Name context = "context";
  Names passing = {}, passing_back = {};  // keys on their way round a ring

  Names key_symbols() const {
    Names names;
    for (const AttentionKeys& one : keys) names.push_back(one.symbol);
    return names;
  }
};

void build_core(LayerBuilder& build, AttentionCore core);

}  // namespace meshsim
