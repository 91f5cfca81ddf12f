#include "plans/key_table.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "model_specs/model_config.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

const KeyTable& table() { return KeyTable::instance(); }

Node value(const std::string& text, bool quoted = false) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.text = text;
  node.quoted = quoted;
  return node;
}

// The fault of `key`=`node`, or "".
std::string key_fault(const std::string& key, const Node& node) {
  Diagnostics faults;
  const KeyInfo* info = table().find(key);
  REQUIRE(info != nullptr);
  KeyTable::check(*info, node, faults);
  if (faults.empty()) return {};
  return refusal([&] { faults.throw_if_any(); }).what();
}

std::string key_fault(const std::string& key, const std::string& text) {
  return key_fault(key, value(text));
}

}  // namespace

TEST_CASE("the table holds every key that MaxText accepts", "[plans][keys]") {
  // 696 keys of base.yml and 146 beside it (MaxText, August 2026).
  CHECK(table().keys().size() == 696 + 146);
  for (const KeyInfo& key : table().keys()) CHECK(table().find(key.name) == &key);
  CHECK(table().find("stepz") == nullptr);
  CHECK(table().find("") == nullptr);
}

TEST_CASE("every key has a use, and a reason unless it is modelled", "[plans][keys]") {
  std::set<KeyUse> uses;
  for (const KeyInfo& key : table().keys()) {
    INFO(key.name);
    uses.insert(key.use);
    CHECK(key.reason.empty() == (key.use == KeyUse::modelled));
  }
  CHECK(uses.size() == 4);
}

TEST_CASE("every default passes its own type and range", "[plans][keys]") {
  for (const KeyInfo& key : table().keys()) {
    INFO(key.name);
    CHECK_FALSE(key.type.kinds.empty());
    if (key.use == KeyUse::derived) continue;  // nobody sets it
    Diagnostics faults;
    KeyTable::check(key, key.default_value, faults);
    CHECK_NOTHROW(faults.throw_if_any());
  }
}

TEST_CASE("a null default is written None", "[plans][keys]") {
  CHECK(key_fault("weight_sparsity_n", "None").empty());
  CHECK(table().find("weight_sparsity_n")->default_value.kind == Node::Kind::null);
  CHECK_THAT(key_fault("steps", "None"), Contains("steps: is not an integer (got 'None'"));
  CHECK_THAT(key_fault("steps", Node{}), Contains("steps: must be an integer (got nothing)"));
}

TEST_CASE("every key of a model spec is modelled", "[plans][keys]") {
  for (const std::string& key : model_config_keys()) {
    INFO(key);
    REQUIRE(table().find(key) != nullptr);
    const KeyUse use = table().find(key)->use;
    // Values of rotary tables and the like are read with a model, and have no part in its shapes.
    const bool passed_over = use == KeyUse::ignored;
    CHECK((use == KeyUse::modelled || passed_over));
  }
}

TEST_CASE("integers are never rounded or reinterpreted", "[plans][keys]") {
  for (const char* text : {"1.0", "1e3", "0x10", "010", "1_000", "+1", "-0", "true", "", " 1"}) {
    INFO(text);
    CHECK_THAT(key_fault("max_target_length", text), Contains("is not an integer"));
  }
  // 2^53 + 1, 2^63, 2^64
  for (const char* text : {"9007199254740993", "9223372036854775808", "18446744073709551616"}) {
    CHECK_THAT(key_fault("max_target_length", text), Contains("is beyond +-2^53"));
  }
  CHECK_THAT(key_fault("max_target_length", value("4", true)), Contains("must be an integer"));
}

TEST_CASE("numbers are finite", "[plans][keys]") {
  for (const char* text : {"nan", ".nan", "NaN", "inf", ".inf", "-Infinity", "0x1p3", "1,5"}) {
    INFO(text);
    CHECK_THAT(key_fault("per_device_batch_size", text), Contains("is not a number"));
  }
  CHECK_THAT(key_fault("per_device_batch_size", "1e400"), Contains("is out of range"));
  CHECK_THAT(key_fault("per_device_batch_size", "-0.0"), Contains("must not be negative zero"));
  CHECK(key_fault("per_device_batch_size", "0.5").empty());
  CHECK(key_fault("per_device_batch_size", "2").empty());
}

TEST_CASE("ranges: one table for all keys", "[plans][keys]") {
  CHECK_THAT(key_fault("per_device_batch_size", "0"), Contains("must be above 0 (got 0)"));
  CHECK_THAT(key_fault("per_device_batch_size", "-1"), Contains("must be above 0 (got -1)"));
  CHECK_THAT(key_fault("max_target_length", "0"), Contains("must be at least 1 (got 0)"));
  CHECK_THAT(key_fault("sharding_tolerance", "1.5"), Contains("must be at most 1 (got 1.5)"));
  CHECK_THAT(key_fault("num_experts", "0"), Contains("must be at least 1 (got 0)"));
  CHECK_THAT(key_fault("mtp_num_layers", "65"), Contains("must be at most 64 (got 65)"));
  int degrees = 0;
  for (const KeyInfo& key : table().keys()) {
    const bool degree = (key.name.starts_with("ici_") || key.name.starts_with("dcn_")) &&
                        key.name.ends_with("_parallelism") &&
                        key.type.kinds.front() == KeyType::Kind::integer;
    if (!degree) continue;
    INFO(key.name);
    ++degrees;
    CHECK(key.use == KeyUse::modelled);
    CHECK(key_fault(key.name, "-1").empty());
    CHECK(key_fault(key.name, "4").empty());
    CHECK_THAT(key_fault(key.name, "0"), Contains("must not be 0 (got 0, want -1 or a positive"));
    CHECK_THAT(key_fault(key.name, "-2"), Contains("must be at least -1 (got -2)"));
  }
  CHECK(degrees == 13 + 13);
}

TEST_CASE("enumerations and types", "[plans][keys]") {
  CHECK_THAT(key_fault("opt_type", "adamv"),
             Contains("must be one of adamw, adam_pax, sgd, muon (got "
                      "'adamv')") &&
                 Contains("did you mean adamw"));
  CHECK(key_fault("remat_policy", "minimal_flash").empty());
  CHECK_THAT(key_fault("remat_policy", "minimum"), Contains("must be one of"));
  CHECK_THAT(key_fault("scan_layers", "yes"), Contains("is not a boolean"));
  CHECK(key_fault("scan_layers", "True").empty());
  CHECK_THAT(key_fault("mlp_activations", "silu"), Contains("must be a list (got 'silu')"));
  Node list;
  list.kind = Node::Kind::sequence;
  CHECK_THAT(key_fault("steps", list), Contains("must be an integer (got a list)"));
  CHECK_THAT(key_fault("run_name", list), Contains("must be text (got a list)"));
}
