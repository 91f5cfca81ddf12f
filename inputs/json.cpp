#include "inputs/json.hpp"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

namespace meshsim {
namespace {

// How far the lexer has read. It looks one character ahead only after a number.
struct Progress {
  std::string_view text;
  std::size_t offset = 0;
};

class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(Progress* progress, std::size_t offset) : progress_(progress), offset_(offset) {}
  reference operator*() const { return progress_->text[offset_]; }
  TrackingIterator& operator++() {
    ++offset_;
    progress_->offset = offset_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackingIterator& other) const { return offset_ == other.offset_; }
  bool operator!=(const TrackingIterator& other) const { return offset_ != other.offset_; }

 private:
  Progress* progress_;
  std::size_t offset_;
};

class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(const std::string& file, const Progress& progress)
      : file_(file), progress_(progress) {}

  Node take() { return std::move(root_); }

  bool null() override { return add(Node{}); }
  bool boolean(bool value) override { return add(scalar(value ? "true" : "false", false)); }
  bool number_integer(number_integer_t) override { return add(scalar(number_text(), false)); }
  bool number_unsigned(number_unsigned_t) override { return add(scalar(number_text(), false)); }
  bool number_float(number_float_t, const string_t& text) override {
    return add(scalar(text, false));
  }
  bool string(string_t& value) override { return add(scalar(value, true)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Node::Kind::mapping); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Node::Kind::sequence); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Open& parent = stack_.back();
    if (!parent.keys.insert(name).second) {
      for (const Member& earlier : parent.node.members) {
        if (earlier.key == name) {
          fail(fmt::format("the key '{}' stands twice", name),
               fmt::format("it first stands at line {}", earlier.where.line));
        }
      }
    }
    parent.pending = Member{name, here(), {}};
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception...] parse error at line 1, column 2: syntax error while ...": keep the end.
    std::string what = error.what();
    if (const auto colon = what.find(": "); colon != std::string::npos) what.erase(0, colon + 2);
    // A number that the lexer cannot hold (1e400) is an error of range, not of syntax.
    throw Error(ErrorKind::invalid_input,
                Diagnostic{at(position == 0 ? 0 : position - 1),
                           {},
                           "is not valid JSON: " + what,
                           token.empty() ? "is the file truncated?" : ""});
  }

 private:
  struct Open {
    Node node;
    std::optional<Member> pending;
    std::set<std::string> keys;
  };

  Location at(std::size_t offset) const {
    const std::string_view before = progress_.text.substr(0, offset);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 == 0
    return {file_, static_cast<int>(line), static_cast<int>(offset - start) + 1};
  }
  // The end of the token that was just read: exact for strings and brackets.
  Location here() const { return at(progress_.offset == 0 ? 0 : progress_.offset - 1); }

  [[noreturn]] void fail(std::string what, std::string hint) const {
    throw Error(ErrorKind::invalid_input, Diagnostic{here(), {}, std::move(what), std::move(hint)});
  }

  // nlohmann hands over the value only, which has lost "-0"; the text is still there.
  std::string number_text() const {
    constexpr std::string_view number_characters = "0123456789+-.eE";
    const auto in_number = [&](std::size_t i) {
      return number_characters.find(progress_.text[i]) != std::string_view::npos;
    };
    std::size_t end = progress_.offset;
    if (end > 0 && !in_number(end - 1)) --end;
    std::size_t begin = end;
    while (begin > 0 && in_number(begin - 1)) --begin;
    return std::string(progress_.text.substr(begin, end - begin));
  }

  Node scalar(std::string text, bool quoted) const {
    Node node;
    node.kind = Node::Kind::scalar;
    node.text = std::move(text);
    node.quoted = quoted;
    return node;
  }

  bool open(Node::Kind kind) {
    if (stack_.size() >= static_cast<std::size_t>(max_depth)) {
      fail(fmt::format("is nested deeper than {} levels", max_depth), {});
    }
    Open next;
    next.node.kind = kind;
    next.node.where = here();
    stack_.push_back(std::move(next));
    return true;
  }

  bool close() {
    Node done = std::move(stack_.back().node);
    stack_.pop_back();
    return add(std::move(done));
  }

  bool add(Node node) {
    if (++nodes_ > max_nodes) fail(fmt::format("has more than {} values", max_nodes), {});
    if (node.where.line == 0) node.where = here();
    if (stack_.empty()) {
      root_ = std::move(node);
      return true;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == Node::Kind::sequence) {
      parent.node.items.push_back(std::move(node));
    } else {
      parent.pending->value = std::move(node);
      parent.node.members.push_back(std::move(*parent.pending));
      parent.pending.reset();
    }
    return true;
  }

  const std::string& file_;
  const Progress& progress_;
  Node root_;
  std::vector<Open> stack_;
  std::size_t nodes_ = 0;
};

}  // namespace

Node parse_json(const Source& source) {
  check_text(source);
  Progress progress{source.text};
  TreeBuilder builder(source.name, progress);
  nlohmann::json::sax_parse(TrackingIterator(&progress, 0),
                            TrackingIterator(&progress, source.text.size()), &builder);
  return builder.take();
}

}  // namespace meshsim
