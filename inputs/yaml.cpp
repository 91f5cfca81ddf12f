#include "inputs/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <sstream>
#include <utility>

namespace meshsim {
namespace {

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& file) : file_(file) { root_.where = {file, 1, 1}; }

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      fail(place(mark), "holds more than one YAML document", "remove the '---'");
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node;
    node.where = place(mark);
    add(std::move(node), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node;
    node.where = place(mark);
    node.quoted = tag == "!";
    refuse_tag(mark, tag);
    const bool plain_null = !node.quoted && (value.empty() || value == "~" || value == "null" ||
                                             value == "Null" || value == "NULL");
    if (!plain_null) {
      node.kind = Node::Kind::scalar;
      node.text = value;
    }
    add(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(Node::Kind::sequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(Node::Kind::mapping, mark, anchor);
  }
  void OnMapEnd() override { close(); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    for (const Open& open : stack_) {
      if (open.anchor == anchor) {
        fail(place(mark), "an alias refers to the node that contains it",
             fmt::format("the node starts at line {}", open.node.where.line));
      }
    }
    const Node& target = anchors_.at(anchor);
    spend(place(mark), cost(target));
    add(target, YAML::NullAnchor);
  }

 private:
  struct Open {
    Node node;
    YAML::anchor_t anchor;
    std::optional<Member> pending;     // a key that waits for its value
    std::map<std::string, int> lines;  // of the keys so far
  };

  Location place(const YAML::Mark& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

  [[noreturn]] static void fail(Location where, std::string what, std::string hint) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{std::move(where), {}, std::move(what), std::move(hint)});
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail(place(mark), fmt::format("the tag {} is not supported", tag), "write the plain value");
  }

  void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (stack_.size() >= static_cast<std::size_t>(max_depth)) {
      fail(place(mark), fmt::format("is nested deeper than {} levels", max_depth), {});
    }
    Open next{{}, anchor, {}, {}};
    next.node.kind = kind;
    next.node.where = place(mark);
    stack_.push_back(std::move(next));
  }

  void close() {
    Open done = std::move(stack_.back());
    stack_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  // One per node and one per KiB of text, for everything below `node`: what a copy of it costs.
  static std::size_t cost(const Node& node) {
    std::size_t sum = 1 + node.text.size() / 1024;
    for (const Node& item : node.items) sum += cost(item);
    for (const Member& member : node.members) sum += member.key.size() / 1024 + cost(member.value);
    return sum;
  }

  void spend(const Location& where, std::size_t amount) {
    spent_ += amount;
    if (spent_ > max_nodes) {
      fail(where, fmt::format("has more than {} values when aliases are written out", max_nodes),
           {});
    }
  }

  void add(Node node, YAML::anchor_t anchor) {
    spend(node.where, 1);
    if (anchor != YAML::NullAnchor) {
      spend(node.where, cost(node));
      anchors_[anchor] = node;
    }
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == Node::Kind::sequence) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.pending) {
      begin_member(parent, node);
    } else {
      parent.pending->value = std::move(node);
      parent.node.members.push_back(std::move(*parent.pending));
      parent.pending.reset();
    }
  }

  static void begin_member(Open& parent, const Node& key) {
    if (key.kind != Node::Kind::scalar) {
      fail(key.where, fmt::format("a key must be a plain name (got {})", described(key)), {});
    }
    if (key.text == "<<" && !key.quoted) {
      fail(key.where, "merge keys (<<) are not supported",
           "write the keys out, or use base_config");
    }
    const auto [earlier, is_new] = parent.lines.emplace(key.text, key.where.line);
    if (!is_new) {
      fail(key.where, fmt::format("the key {} stands twice", in_quotes(key.text)),
           fmt::format("it first stands at line {}", earlier->second));
    }
    parent.pending = Member{key.text, key.where, {}};
  }

  const std::string& file_;
  Node root_;
  std::vector<Open> stack_;
  std::map<YAML::anchor_t, Node> anchors_;
  std::size_t spent_ = 0;
  int documents_ = 0;
};

// yaml-cpp reads a tab in the indentation as part of a value or fails far from it.
void refuse_tab_indentation(const Source& source) {
  int line = 1;
  bool indentation = true;
  int column = 1;
  for (const char c : source.text) {
    if (c == '\t' && indentation) {
      throw Error(ErrorKind::invalid_input, Diagnostic{{source.name, line, column},
                                                       {},
                                                       "a tab indents this line",
                                                       "YAML is indented with spaces"});
    }
    indentation = c == '\n' || (indentation && c == ' ');
    column = c == '\n' ? 1 : column + 1;
    line += c == '\n';
  }
}

}  // namespace

Node parse_yaml(const Source& source) {
  check_text(source);
  refuse_tab_indentation(source);
  // yaml-cpp closes an open quote at the end of a text that ends in a newline, silently. Behind a
  // comment it notices.
  const bool ends_line = source.text.empty() || source.text.back() == '\n';
  std::istringstream stream(source.text + (ends_line ? "#" : "\n#"));
  TreeBuilder builder(source.name);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    parser.HandleNextDocument(builder);  // a second document is a fault
    return builder.take();
  } catch (const YAML::Exception& error) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{source.name, error.mark.line + 1, error.mark.column + 1},
                           {},
                           "is not valid YAML: " + error.msg,
                           error.msg == "illegal EOF in scalar"
                               ? "a quote is not closed"
                               : "look at this line and the one above it"});
  }
}

}  // namespace meshsim
