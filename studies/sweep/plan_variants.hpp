// The plans of a sweep, one after the other, each made from the last.
//
// Two plans with the same model and the same place on the same machine differ in settings that few
// parts of a plan read. Such plans share one Plan object: the settings of the plan before are put
// back, those of this one put in, and only what may follow from them is made again. A setting that
// the placing of a plan was seen to read (plans/plan_steps.hpp), that describes the model, or that
// decides how settings are laid over each other, is never changed in place: it has an object of its
// own. The latest of these objects are kept.
#pragma once

#include <list>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "plans/config_hash.hpp"
#include "plans/plan.hpp"
#include "studies/neighbours.hpp"

namespace meshsim {

// A plan and the hash of its configuration.
struct PlanVariant {
  const Plan* plan = nullptr;
  ConfigHash hash;
};

class PlanVariants {
 public:
  // `base` must outlive it.
  explicit PlanVariants(const PlanRequest& base);

  // What make_plan(changed(base, change)) gives, until the next call. Throws what that throws, but
  // for the places in its diagnostics.
  PlanVariant make(const Change& change);

 private:
  struct Placed {
    std::string key;
    Plan plan;
    std::size_t place_assumptions = 0;  // those of the placing come first
    ConfigHash hash;                    // with the settings of the base
    std::vector<Setting> replaced;      // by the last variant
  };

  // The object of the settings `fixed`, and which of `change` are set in it; or nullptr: none can
  // be made.
  Placed* place_of(const Change& change, Change& free);
  Placed& placed(const Change& fixed, const std::string& key);
  PlanVariant anew(const Change& change);

  const PlanRequest& base_;
  std::set<std::string, std::less<>> not_in_place_;  // as far as is known
  Plan anew_;
  std::list<Placed> latest_;  // the latest used first
  std::unordered_map<std::string, std::list<Placed>::iterator> by_key_;
};

}  // namespace meshsim
