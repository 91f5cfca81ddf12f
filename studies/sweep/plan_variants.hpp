// The plans of a sweep, one after the other, each made from the last.
//
// Two plans with the same model and the same place on the same machine differ in settings that few
// parts of a plan read. Such plans share one Plan object: the settings of the plan before are put
// back, those of this one put in, and only what may follow from them is made again. A setting that
// the placing of a plan was seen to read (plans/plan_steps.hpp), that describes the model, or that
// decides how settings are laid over each other, is never changed in place: it has an object of its
// own. The latest of these objects are kept.
#pragma once

#include <exception>
#include <list>
#include <optional>
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
  // A key with a value, as it is set in place.
  struct Word {
    std::string name, value;
    bool in_place = false;  // else: of an object of its own
    Setting setting;
    std::size_t index = 0;  // of the setting
    ConfigHash hash;        // its term
    bool valid = false;
  };
  struct Replaced {
    std::size_t index = 0;  // of the setting
    Setting original;
    ConfigHash original_hash;    // its term
    ConfigHash hash;             // of what stands there now
    const Word* word = nullptr;  // what stands there now, if it is still known
    bool wanted = false;         // by the variant at hand
  };
  struct Placed {
    std::string key;
    Plan plan;
    std::size_t place_assumptions = 0;  // those of the placing come first
    ConfigHash hash;                    // with what is replaced
    std::vector<Replaced> replaced;
  };

  // Into words_, those of `change`.
  void find_words(const Change& change);
  const Word& word_of(const std::string& name, const std::string& value);
  Word made_word(const std::string& name, const std::string& value) const;
  // The object in which words_ can be set, or nullptr: none can be made, for fault_ if the place
  // was refused.
  Placed* place_of(const Change& change);
  Placed& placed(const Change& fixed, const std::string& key);
  void forget_words();
  static void set(Placed& place, const Word& word);
  static void put_back_the_unwanted(Placed& place);
  PlanVariant anew(const Change& change);

  const PlanRequest& base_;
  std::set<std::string, std::less<>> not_in_place_;  // as far as is known
  Plan anew_;
  std::list<Placed> latest_;  // the latest used first
  std::unordered_map<std::string, std::list<Placed>::iterator> by_key_;
  std::unordered_map<std::string, std::exception_ptr> refused_;  // by the keys of objects
  std::exception_ptr fault_;
  std::unordered_map<std::string, Word> known_words_;
  std::vector<const Word*> words_;  // of the plan at hand
  std::vector<const Word*> fixed_;  // those of them that are not set in place
  struct Last {
    std::vector<const Word*> fixed;
    Placed* place = nullptr;
  };
  std::optional<Last> last_;  // what place_of found last
  std::string key_;           // scratch space
};

}  // namespace meshsim
